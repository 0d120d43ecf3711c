"""In what numbers a network is trained: tried out on processors with units for bfloat16, kept by a resumed training."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import boxes, workflow

from voxgraft.components.catalogue import Catalogue
from voxgraft.runs.engine import run_workflow
from voxgraft.runs.run import Run
from voxgraft.support.progress import Progress
from voxgraft.training import arithmetic
from voxgraft.training.arithmetic import FULL, HALF, Arithmetic, choose_arithmetic
from voxgraft.training.checkpoint import arithmetic_of
from voxgraft.workflow.workflow import read

CPU = torch.device("cpu")
WAYS = (FULL, True), (HALF, False), (HALF, True)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, bool], float]:
    """What each way takes on a processor with the units."""
    taken = dict(zip(WAYS, (1.0, 0.5, 0.7), strict=True))
    monkeypatch.setattr(arithmetic, "has_bf16", lambda: True)
    monkeypatch.setattr(arithmetic, "_seconds", lambda network, plan, way: taken[way.precision, way.channels_last])
    return taken


def chosen(precision: str, devices: int = 1, device: torch.device = CPU) -> tuple[str, bool, int]:
    options: Any = SimpleNamespace(precision=precision)
    found = choose_arithmetic(options, options, options, device, devices)
    return found.precision, found.channels_last, len(found.seconds)


def test_the_faster_order_in_memory_is_taken(seconds: dict[tuple[str, bool], float]) -> None:
    assert chosen("bf16") == (HALF, False, 2)
    seconds[HALF, True] = 0.4
    assert chosen("bf16") == (HALF, True, 2)
    assert chosen("32") == chosen("auto") == (FULL, True, 0)


def test_nothing_is_tried_without_units_or_on_several_devices(
    seconds: dict[tuple[str, bool], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen("bf16", devices=2) == (HALF, True, 0)
    monkeypatch.setattr(arithmetic, "has_bf16", lambda: False)
    assert chosen("bf16") == (HALF, True, 0)


def train(tmp_path: Path, data: Path, catalogue: Catalogue, *overrides: str) -> Run:
    flow = workflow(tmp_path, data, steps="[plan, prepare, train]", **{"12 steps": "2 steps"})
    checked = read(flow, catalogue, ["tracking=null", *overrides])
    return run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))


def test_a_resumed_training_keeps_what_was_chosen(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = boxes(tmp_path / "data", cases=3, shape=(16, 16, 16))
    once = Arithmetic(HALF, False, {"measured": 0.5})
    monkeypatch.setattr("voxgraft.training.session.choose_arithmetic", lambda *_: once)
    run = train(tmp_path, data, catalogue)
    summary: dict[str, Any] = run.read("train/summary.json")
    assert summary["precision"] == HALF and summary["arithmetic"] == once.document()
    identity = summary["identity"]
    assert arithmetic_of(run.folder / "train", identity) == once
    assert arithmetic_of(run.folder / "train", "another") is None
    monkeypatch.setattr("voxgraft.training.session.choose_arithmetic", lambda *_: pytest.fail("it is tried again"))
    for name in ("steps/train.json", "train/summary.json", "train/weights.safetensors"):
        (run.folder / name).unlink()
    again = train(tmp_path, data, catalogue)
    assert json.loads(json.dumps(again.read("train/summary.json")["arithmetic"])) == once.document()


def test_a_trial_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network: Any = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.BatchNorm3d(4))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, image: torch.Tensor) -> Any:
            return SimpleNamespace(logits=self.inner(image), deep=())

    plan: Any = SimpleNamespace(channels=("t1",), patch=(8, 8, 8), dims=3)
    for way in WAYS:
        assert arithmetic._seconds(Network(), plan, Arithmetic(*way)) > 0  # type: ignore[arg-type]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
