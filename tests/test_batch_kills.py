"""A batch killed at random moments while a person corrects masks in its folder: nothing is lost or half-written."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_nothing_is_lost_when_a_batch_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_path: dict[str, str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", repo_path["PYTHONPATH"])
    figures = importlib.import_module("batch_kills").measure(tmp_path / "batch", kills=3, seed=1)
    assert figures.kills == 3 and figures.corrections > 0
    assert (figures.lost, figures.half, figures.left) == ([], [], [])


def test_the_figures_of_the_benchmark_are_kept() -> None:
    figures = json.loads((ROOT / "benchmarks" / "results" / "batch_kills.json").read_text())
    assert figures["kills"] >= 50 and figures["corrections"] >= 30
    assert figures["lost"] == figures["half_written"] == figures["left_behind"] == []
