"""A plugin with a component of every kind works in a plain run, a guarded one, a cross-validation and a batch."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.hookspecs import KINDS
from voxgraft.packages.references import Resolver
from voxgraft.runs.engine import run_workflow
from voxgraft.runs.run import Run
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import from_document

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch, builtin_entries: list[EntryPoint]) -> Catalogue:
    monkeypatch.syspath_prepend(Path(__file__).parent / "voxgraft-everykind")
    return discover([*builtin_entries, EntryPoint("everykind", "voxgraft_everykind", "voxgraft")])


def data_set(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for number in range(4):
        label = np.zeros((16, 16, 16), np.uint8)
        label[3 + number : 9 + number, 5:11, 5:11] = 1
        for name, array in (("images", rng.poisson(20 + 100 * label).astype(np.int16)), ("labels", label)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            with (folder / name / f"c{number}.every").open("wb") as file:
                np.save(file, array)
    return folder


def done(every: Catalogue, folder: Path, **changes: Any) -> Run:
    document: dict[str, Any] = {
        "voxgraft": 1,
        "name": "every",
        "data": {
            "layout": {"use": "every", "path": data_set(folder / "data").as_posix()},
            "modality": "every",
            "labels": {"box": 1},
            "split": {"folds": 2, **changes.pop("split", {})},
        },
        "model": {"dims": 3, "encoder": "every", "decoder": "every"},
        "transfer": ["every"],
        "training": {"budget": "3 steps", "patch": [16, 16, 16], "device": "cpu", "loss": "every"},
        "evaluation": {"metrics": ["every"]},
        "tracking": "every",
        "steps": ["check", "plan", "prepare", "train", "evaluate", "every"],
        **changes,
    }
    flow = from_document(document, every)
    return run_workflow(flow, every, folder / "run", progress=Progress(quiet=True))


def test_it_has_one_of_every_kind(every: Catalogue) -> None:
    mine = {spec.kind for kind in KINDS for plugin, spec in every.of(kind) if plugin == "everykind"}
    assert mine == set(KINDS) and not every.failures


@pytest.mark.parametrize("changes", [{}, {"guard": "twin"}, {"split": {"folds": 2, "fold": "all"}}])
def test_each_works_in_a_run_of_every_form(every: Catalogue, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = done(every, tmp_path, **changes)
    assert run.read("every.json")["package"] == (run.package / "model.safetensors").stat().st_size
    assert "everykind" in run.read("environment.json")["plugins"]
    assert json.loads((run.folder / "tracked.jsonl").read_text().splitlines()[-1]) == "FINISHED"
    assert 0 <= run.read("evaluate/scores.json")["summary"]["every"]["box"]["mean"] <= 1
    if "guard" in changes:
        assert run.read("guard.json")["verdict"]
    if "split" in changes:
        assert all((run.folder / "members" / f"fold_{fold}" / "every.json").is_file() for fold in range(2))
    package = Resolver(every).resolve(f"every:{run.package}")
    batch = segment(
        package,
        [tmp_path / "data" / "images" / "c0.every"],
        tmp_path / "out",
        every,
        writers=["every"],
        executor="every",
    )
    assert batch.done == 1 and np.load(tmp_path / "out" / "c0" / "mask.every").shape == (16, 16, 16)
