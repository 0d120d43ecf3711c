"""The benchmark of the guard: its harmful source is what it says, and the figures of the documentation are its own."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("guard")


def test_the_harmful_source_has_the_same_numbers_in_another_order(
    benchmark: ModuleType, tmp_path: Path, catalogue
) -> None:
    from voxgraft.components.choice import choose
    from voxgraft.errors import ModelError

    try:
        encoder = choose(catalogue, "encoder", {"use": "efficientnet-lite0", "weights": "imagenet"}).build()
        weights = encoder.weights().tensors
    except ModelError as error:
        pytest.skip(str(error))
    for name in ("one", "two"):
        benchmark.harmful_source(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes(), "the same each time"
    permuted = load_file(tmp_path / "one")
    assert permuted.keys() == weights.keys()
    moved = 0
    for name, value in weights.items():
        assert permuted[name].shape == value.shape
        assert torch.equal(permuted[name].flatten().sort().values, value.flatten().sort().values), name
        moved += not torch.equal(permuted[name], value)
    assert moved > 0.9 * sum(value.numel() > 1 for value in weights.values())


def test_nobody_is_learnt_from_and_scored(benchmark: ModuleType, tmp_path: Path) -> None:
    benchmark.cases(tmp_path / "cases.csv")
    rows = [line.split(",") for line in (tmp_path / "cases.csv").read_text().splitlines()[1:]]
    assert [row[-1] for row in rows] == ["train"] * 8 + ["validation"] * 12
    assert len({row[0] for row in rows}) == 20


def test_the_verdicts_of_the_documentation_are_those_of_the_benchmark(benchmark: ModuleType) -> None:
    text = (ROOT / "docs" / "evidence.md").read_text()
    verdicts = json.loads((ROOT / "benchmarks" / "results" / "guard.json").read_text())["verdicts"]
    lines = [benchmark.line_of(row) for row in verdicts]
    start = text.index(lines[0])
    assert text[start:].startswith("\n".join(lines) + "\n\n"), "the table has these rows and no others"
