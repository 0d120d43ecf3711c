"""How cost grows with voxels, classes, scans and workers: exponents of power laws, fitted to processor seconds.

    python benchmarks/scaling.py [--rounds 5] [--out benchmarks/results/scaling.json]

Sizes are done in turns, and a power law (cost = a x^b) is fitted to each round by least squares of logarithms; what is
given is the median b of the rounds, with the smallest and the largest. Processor seconds count all threads of the
process and hardly depend on what else the machine does. `voxels` is a sliding window with a small network, `classes`
one whose network costs nothing, `scans` and `workers` are whole batches with a threshold in place of a network.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from many_scans import Threshold, make
from measured import in_turns, parser_of, record
from sliding_overhead import Free
from stand_in import package_of_balls, plan_of
from torch import nn

from voxgraft.batch.segment import segment
from voxgraft.discovery import discover
from voxgraft.inference.array import segment_array

SIDES = (32, 48, 64, 96)
CLASSES = (4, 8, 16, 32, 64)
SCANS = (20, 40, 80)
WORKERS = (1, 2, 4)
PATCH = (32, 32, 32)


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
        segment_array(network, image, (side,) * 3, plan_of(classes, PATCH))


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
    taken = in_turns(ways, rounds)
    sizes = [of(size) for size in ways]
    fits = [exponent(sizes, [row[turn].cpu for row in taken.values()]) for turn in range(rounds)]
    return {
        "sizes": list(ways),
        "cpu_seconds": {str(size): round(statistics.median(one.cpu for one in row), 4) for size, row in taken.items()},
        "wall_seconds": {
            str(size): round(statistics.median(one.seconds for one in row), 4) for size, row in taken.items()
        },
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
    parser = parser_of(__doc__, "scaling")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="voxgraft-scaling-") as folder:
        figures = measure(Path(folder), options.rounds)
    record(options.out, {"rounds": options.rounds, **figures})


if __name__ == "__main__":
    main()
