"""What tests of training share: a tiny data set of blobs, and a run's folder made for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from held_cases import Held, cross_entropy
from voxgraft.components.choice import Selected
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.preprocessing.plan import Plan
from voxgraft.training.batches import Batches
from voxgraft.training.job import Job
from voxgraft.training.optimiser import highest_rate
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context, TransferStrategy, parameter_table
from voxgraft.workflow.sections import Training


class TinyEncoder(nn.Module):
    """Two levels, with BatchNorm and dropout: everything that a careless resume gets wrong."""

    channels = (4, 8)
    strides = ((1, 1, 1), (2, 2, 2))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.Dropout(0.1))
        self.down = nn.Sequential(nn.Conv3d(4, 8, 3, 2, padding=1), nn.BatchNorm3d(8), nn.ReLU())
        self.stages = [["stem."], ["down."]]

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.stem(image)
        return [fine, self.down(fine)]


class TinyDecoder(nn.Module):
    channels = (8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(8, 4, 2, 2)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [torch.cat([features[0], self.up(features[1])], 1), features[1]]


def tiny_network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(TinyEncoder(), TinyDecoder(), 3, 2)


def tiny_plan() -> Plan:
    return Plan(
        dims=3,
        image_dims=3,
        channels=("mr",),
        labels=((1, "blob"),),
        modality="mr",
        normalisation=({},),
        spacing=(1.0, 1.0, 1.0),
        patch=(8, 8, 8),
        batch=2,
        strides=((1, 1, 1), (2, 2, 2)),
    )


def blobs(number: int = 4) -> list[Held]:
    """Bright boxes on noise."""
    rng = np.random.default_rng(0)
    cases = []
    for index in range(number):
        image = rng.normal(0, 0.3, (1, 14, 12, 13)).astype(np.float32)
        label = np.zeros((14, 12, 13), np.uint8)
        start = rng.integers(1, 6, 3)
        box = tuple(slice(int(s), int(s) + 5) for s in start)
        label[box] = 1
        image[0][box] += 2
        places = np.argwhere(label == 1)
        places = np.concatenate([np.ones((len(places), 1), int), places], 1).astype(np.int16)
        cases.append(Held(f"case{index}", image, label, places))
    return cases


def tiny_job(
    folder: Path,
    options: dict[str, Any],
    strategies: list[TransferStrategy] | None = None,
    report: Callable[[dict[str, float], int], None] = lambda numbers, step: None,
    look: Callable[[SegmentationNetwork], dict[str, float]] = lambda network: {"dice": 0.5},
    pretrained: frozenset[str] = frozenset(),
) -> Job:
    """A training that takes a second."""
    training = Training.model_validate({"device": "cpu", "loss": Selected(None, None), **options})
    network, plan = tiny_network(), tiny_plan()
    stack = Stack(strategies or [])
    context = Context(network=network, pretrained=pretrained)
    extra = stack.prepare(context)
    rows = stack.edit(parameter_table(network, highest_rate(training.optimiser), 0.01, pretrained), context)
    parameters = dict(network.named_parameters())
    for row in rows:
        parameters[row.name].requires_grad_(row.train)
    return Job(
        network=network,
        stack=stack,
        rows=rows,
        context=context,
        extra=extra,
        batches=Batches(blobs(), plan, seed=training.seed, foreground=0.5),
        plan=plan,
        spacing=plan.spacing,
        loss=cross_entropy,
        strengths={"rotation": 15.0, "scale": 0.1, "noise": 0.1, "gamma": 0.2, "blur": 0.5, "elastic": 1.0},
        options=training,
        folder=folder,
        identity="tiny",
        look=look,
        report=report,
        show=lambda share, note: None,
    )
