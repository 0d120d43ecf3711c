"""How cost grows with voxels, classes, scans and workers: exponents of power laws, fitted to processor seconds.

    python benchmarks/scaling.py [--rounds 5] [--out benchmarks/results/scaling.json]

Sizes are done in turns, and a power law (cost = a x^b) is fitted to each round by least squares of logarithms; what is
given is the median b of the rounds, with the smallest and the largest. Processor seconds count all threads of the
process and hardly depend on what else the machine does. `voxels` is a sliding window with a small network, `classes`
one whose network costs nothing, `scans` and `workers` are whole batches with a threshold in place of a network.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import record
from many_scans import Threshold, make
from stand_in import package_of_balls
from torch import nn

from voxgraft.batch.segment import segment
from voxgraft.discovery import discover
from voxgraft.inference.array import segment_array
from voxgraft.preprocessing.plan import Plan

SIDES = (32, 48, 64, 96)
CLASSES = (4, 8, 16, 32, 64)
SCANS = (20, 40, 80)
WORKERS = (1, 2, 4)
PATCH = (32, 32, 32)


def plan_of(classes: int) -> Plan:
    return Plan(
        dims=3,
        image_dims=3,
        channels=("image",),
        labels=tuple((value, f"structure-{value}") for value in range(1, classes)),
        modality="mr",
        normalisation=({},),
        spacing=(1.0, 1.0, 1.0),
        patch=PATCH,
        batch=1,
        strides=((1, 1, 1),),
    )


class Free(nn.Module):
    """A network that only writes its logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.linspace(0.5, 1.5, classes).view(1, classes, 1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * self.factors


def small_network(classes: int) -> nn.Module:
    layers = (
        nn.Conv3d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(8, classes, 1),
    )
    return nn.Sequential(*layers).eval()


def predict(network: nn.Module, side: int, classes: int) -> None:
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, side, side, side)).astype(np.float32))
    with torch.inference_mode():
        segment_array(network, image, (side,) * 3, plan_of(classes))


def batch(folder: Path, scans: int, workers: int) -> None:
    inputs = sorted((folder / "in").iterdir())[:scans]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        segment(
            package_of_balls(folder / "model"),
            inputs,
            Path(out) / "out",
            discover(),
            workers=workers,
            predictor=lambda _: Threshold(),
        )


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def grown(ways: Mapping[int, Callable[[], None]], rounds: int, of: Callable[[int], float] = float) -> dict[str, Any]:
    """Do every size in turns, and fit each round.

    Args:
        ways: The size that is named, and what is done with it.
        rounds: How often.
        of: From the size that is named to what the cost is fitted to.
    """
    next(iter(ways.values()))()
    cpu: dict[int, list[float]] = {size: [] for size in ways}
    wall: dict[int, list[float]] = {size: [] for size in ways}
    for _ in range(rounds):
        for size, way in ways.items():
            used, start = time.process_time(), time.perf_counter()
            way()
            wall[size].append(time.perf_counter() - start)
            cpu[size].append(time.process_time() - used)
    sizes = [of(size) for size in ways]
    fits = [exponent(sizes, [cpu[size][turn] for size in ways]) for turn in range(rounds)]
    return {
        "sizes": list(ways),
        "cpu_seconds": {str(size): round(statistics.median(cpu[size]), 4) for size in ways},
        "wall_seconds": {str(size): round(statistics.median(wall[size]), 4) for size in ways},
        "exponent": round(statistics.median(fits), 3),
        "exponent_of_rounds": [round(min(fits), 3), round(max(fits), 3)],
    }


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    make(folder, max(SCANS))
    network = small_network(3)
    return {
        "voxels": grown({side: partial(predict, network, side, 3) for side in SIDES}, rounds, lambda side: side**3),
        "classes": grown({number: partial(predict, Free(number), 64, number) for number in CLASSES}, rounds),
        "scans": grown({number: partial(batch, folder, number, 1) for number in SCANS}, rounds),
        "workers": grown({number: partial(batch, folder, SCANS[0], number) for number in WORKERS}, rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scaling.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="voxgraft-scaling-") as folder:
        figures = measure(Path(folder), options.rounds)
    record(options.out, {"rounds": options.rounds, "load": round(os.getloadavg()[0], 1), **figures})


if __name__ == "__main__":
    main()
