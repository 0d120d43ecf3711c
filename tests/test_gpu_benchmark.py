"""The script for machines with a GPU walks its whole path on a CPU, in small."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_part_runs_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gpu_benchmark", BENCHMARKS / "gpu.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_benchmark", script)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script.numbers, "WORTH_COMPILING", script.numbers.WORTH_COMPILING)
    script.main(["--device", "cpu", "--no-peers", "--out", str(tmp_path / "gpu.json")])
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert not [name for name, part in parts.items() if "error" in part], parts
    assert set(parts) == {"training", "torso", "out_of_memory", "two_processes"}
    assert parts["training"]["VoxGraft residual, unet"]["steps_per_s"] > 0
    assert parts["torso"]["32"]["agreement"] == 1.0
    assert parts["out_of_memory"]["ended_with"] <= 2 and parts["out_of_memory"]["whole"]
