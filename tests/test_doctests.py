"""The examples in the docstrings of what a user calls; all of them are run."""

from __future__ import annotations

import doctest
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import voxgraft as vg

sys.path.insert(0, str(Path(__file__).parent / "core"))
from datasets import boxes, workflow

EXAMPLES = {
    "api": {
        "advise",
        "catalogue",
        "check",
        "compare",
        "convert",
        "evaluate",
        "inspect",
        "models",
        "new",
        "read",
        "run",
        "segment",
        "write",
    },
    "datasets.split": {"split_by_patient"},
    "imaging.orientation": {"reoriented", "shape_at"},
    "imaging.regrid": {"resample_onto"},
    "imaging.structures": {"Labels.of"},
    "imaging.volume": {"Volume", "Volume.voxel_ml", "Volume.with_array", "as_volume", "spacing_of"},
    "imaging.write": {"write"},
    "inference.sliding": {"sliding_window"},
    "preprocessing.planning": {"network_strides"},
    "scoring.bootstrap": {"mean_intervals"},
    "scoring.case": {"score_case"},
    "scoring.pair": {"MaskPair"},
    "scoring.scores": {"Scores.of", "Scores.unit"},
}
"""Module -> what has an example in it. `np`, `vg` and the module's own names are known in examples."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three labelled scans in `data` and a `workflow.yaml` for them."""
    made = tmp_path_factory.mktemp("examples")
    boxes(made / "data", cases=3)
    path = workflow(made, Path("data"), steps="[check, plan, prepare, train]")
    text = path.read_text()
    start, end = text.index("tracking:"), text.index("steps:")
    (made / "workflow.yaml").write_text(f"{text[:start]}tracking: null\nregistry: null\n{text[end:]}")
    return made


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_true(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    module = import_module(f"voxgraft.{name}")
    found = doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs={"np": np, "vg": vg})
    tests = {test.name.removeprefix(f"voxgraft.{name}."): test for test in found if test.examples}
    assert set(tests) == EXAMPLES[name]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for test in tests.values():
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
