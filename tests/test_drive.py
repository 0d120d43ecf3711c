"""The cross-validation of DRIVE as a benchmark: what is gathered from the folds of a run and from their twins."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from voxgraft.scoring.scores import Scores

ROOT = Path(__file__).parents[1]


def leave(folder: Path, values: dict[str, float], steps: int) -> None:
    """What a training leaves, as far as the benchmark looks at it."""
    rows = {case: {metric: {"vessel": f1} for metric in ("dice", "precision", "recall")} for case, f1 in values.items()}
    for name, document in {
        "evaluate/scores.json": Scores.of(rows).document(),
        "train/summary.json": {"steps": steps, "seconds": 2.5, "parameters": 7},
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(document))


def test_every_image_stands_once_with_the_score_of_the_network_that_held_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("drive")
    for fold, cases in enumerate((("21", "22"), ("23", "24"))):
        leave(tmp_path / "members" / f"fold_{fold}", dict.fromkeys(cases, 0.7 + 0.1 * fold), 9)
        leave(tmp_path / "members" / f"fold_{fold}" / "twin", dict.fromkeys(cases, 0.6), 9)
    verdict = {"verdict": "helps", "difference": 0.15, "ci95": [0.1, 0.2], "p": 0.01, "members": {"fold_0": "helps"}}
    (tmp_path / "guard.json").write_text(json.dumps(verdict))
    found = script.gathered({"unet": tmp_path})
    assert [(one["start"], round(one["dice"]["mean"], 4)) for one in found["arms"]] == [
        ("imagenet", 0.75),
        ("scratch", 0.6),
    ]
    assert found["arms"][0]["f1"] == {"21": 0.7, "22": 0.7, "23": 0.8, "24": 0.8}
    assert found["arms"][0]["seconds"] == [2.5, 2.5] and found["guard"] == {"unet": verdict}
    script.show(found["arms"], found["guard"])
    assert "unet: imagenet - scratch +0.1500 (+0.1000 to +0.2000), p 0.0100: helps" in capsys.readouterr().out
    some = script.longer([tmp_path / "members" / "fold_1"], "unet")
    assert [one["start"] for one in some["arms"]] == ["imagenet", "scratch"] and some["arms"][0]["steps"] == 9
    assert some["difference"]["difference"] == pytest.approx(0.2) and some["difference"]["run"] == "imagenet"
    assert {path.stem for path in (ROOT / "workflows").glob("drive_*.yaml")} == set(script.WORKFLOWS.values())
