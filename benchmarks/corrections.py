"""What redrawn slices and clicks are worth to a simulated reader, on six left atria with errors made at random.

    python benchmarks/corrections.py DATA [--out benchmarks/results/corrections.json]

DATA holds `images` and `labels` of the left atria (la_020 to la_025). Each mask is damaged twice: `shifted` moves its
surface by a smooth random field of 5 voxels, `parts` cuts out and adds ellipsoids at its surface. The reader corrects
what he sees without a fault: slices are redrawn as they should be, and a click goes to the middle of the largest error.
The times are processor seconds of one process on a scan of 512x512x400 voxels with 30 structures.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import cc3d
import edt
import nibabel as nib
import numpy as np
from measured import cpu_of, parser_of, record
from numpy.typing import NDArray
from scipy import ndimage

from voxgraft.correction import walker
from voxgraft.correction.change import Change, State
from voxgraft.correction.clicks import Click, click
from voxgraft.correction.geometry import signed_distance
from voxgraft.correction.journal import Journal
from voxgraft.correction.locks import broken
from voxgraft.correction.slices import propagate

Mask = NDArray[np.bool_]
CASES = range(20, 26)
CLICKS = (0, 1, 3, 5, 10)
REACH_MM = 10.0


def dice(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def shifted(truth: Mask, chance: np.random.Generator) -> Mask:
    """Its surface moved by a smooth random field."""
    shape = [max(3, size // 22) for size in truth.shape]
    scale = [size / small for size, small in zip(truth.shape, shape, strict=True)]
    field = ndimage.zoom(chance.standard_normal(shape), scale, order=3)[tuple(map(slice, truth.shape))]
    return np.asarray(edt.edt(truth) - edt.edt(~truth) + 5 * field > 0)


def parts(truth: Mask, chance: np.random.Generator) -> Mask:
    """Ellipsoids at its surface cut out and added."""
    damaged = truth.copy()
    near = np.argwhere(np.abs(signed_distance(truth, (1.0, 1.0, 1.0))) < 4)
    grids = np.ogrid[tuple(map(slice, truth.shape))]
    for number in range(16):
        centre, radius, stretch = near[chance.integers(len(near))], chance.uniform(5, 12), chance.uniform(0.6, 1.6, 3)
        away: Any = sum(((grid - at) / by) ** 2 for grid, at, by in zip(grids, centre, stretch, strict=True))
        damaged[away <= radius**2] = bool(number % 2)
    return damaged


DAMAGES: dict[str, Callable[[Mask, np.random.Generator], Mask]] = {"shifted": shifted, "parts": parts}


def by_slices(mask: Mask, truth: Mask, spacing: tuple[float, ...], indices: NDArray[Any]) -> dict[str, float]:
    """Dice and processor seconds after so many slices were redrawn."""
    before = mask.astype(np.uint8)
    redrawn = before.copy()
    redrawn[:, :, indices] = truth[:, :, indices]
    begun = time.process_time()
    change = propagate(before, redrawn, 1, 2, spacing, REACH_MM)
    seconds = time.process_time() - begun
    drawn = dice(redrawn > 0, truth)
    change.apply(redrawn)
    return {"drawn_only": drawn, "propagated": dice(redrawn > 0, truth), "seconds": seconds}


def slices_of(mask: Mask, truth: Mask, spacing: tuple[float, ...]) -> dict[str, dict[str, float]]:
    first, last = np.flatnonzero(truth.any((0, 1)))[[0, -1]]
    found = {}
    for number in (1, 3, 5, 9, 17):
        inner = np.linspace(first, last, number + 2).round().astype(int)[1:-1]
        found[f"inner {number}"] = by_slices(mask, truth, spacing, inner)
        if number > 1:
            found[f"ends {number}"] = by_slices(
                mask, truth, spacing, np.linspace(first, last, number).round().astype(int)
            )
    return found


def worst(mask: Mask, truth: Mask) -> Click:
    """The middle of the largest error."""
    errors = cc3d.connected_components(mask ^ truth, connectivity=6)
    statistics = cc3d.statistics(errors)
    largest = 1 + int(statistics["voxel_counts"][1:].argmax())
    box = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in statistics["bounding_boxes"][largest])
    depth = edt.edt(np.ascontiguousarray(errors[box] == largest))
    place = np.unravel_index(int(depth.argmax()), depth.shape)
    index = tuple(int(at + part.start) for at, part in zip(place, box, strict=True))
    return Click(index, bool(truth[index]))


def by_clicks(
    image: Any, mask: Mask, truth: Mask, spacing: tuple[float, ...], arm: str
) -> tuple[list[float], list[float]]:
    """Dice after each click, and the processor seconds of each."""
    labels, scores, seconds = mask.astype(np.uint8), [dice(mask, truth)], []
    for _ in range(max(CLICKS)):
        point = worst(labels > 0, truth)
        begun = time.process_time()
        if arm == "ball":
            paint(labels, point, spacing)
        else:
            with mock.patch.object(walker, "PRIOR", 1e-4 if arm == "walker without prior" else walker.PRIOR):
                given = None if arm == "distance only" else image
                click(given, labels, 1, [point], spacing).apply(labels)
        seconds.append(time.process_time() - begun)
        scores.append(dice(labels > 0, truth))
    return scores, seconds


def paint(labels: NDArray[np.uint8], point: Click, spacing: tuple[float, ...]) -> None:
    """A ball that reaches to the surface: what a person without the engine would do."""
    radius = np.clip(abs(signed_distance(labels > 0, spacing)[point.index]), 3 * min(spacing), 25 * min(spacing))
    grids = np.ogrid[tuple(map(slice, labels.shape))]
    away: Any = sum(((grid - at) * step) ** 2 for grid, at, step in zip(grids, point.index, spacing, strict=True))
    labels[away <= radius**2] = point.add


ARMS = ("engine", "distance only", "walker without prior", "ball")


def atria(data: Path) -> dict[str, Any]:
    """Means over the cases, by kind of damage."""
    found: dict[str, Any] = {}
    for kind, damage in DAMAGES.items():
        slices: dict[str, list[Any]] = {}
        clicks: dict[str, list[Any]] = {arm: [] for arm in ARMS}
        starts, costs = [], []
        for number, case in enumerate(CASES):
            scan = nib.load(data / "images" / f"la_{case:03d}.nii.gz")
            spacing = tuple(float(step) for step in scan.header.get_zooms())
            image = np.asarray(scan.dataobj)
            truth = np.asarray(nib.load(data / "labels" / f"la_{case:03d}.nii.gz").dataobj) > 0
            mask = damage(truth, np.random.default_rng(number))
            starts.append(dice(mask, truth))
            for name, row in slices_of(mask, truth, spacing).items():
                slices.setdefault(name, []).append(list(row.values()))
            for arm in ARMS:
                scores, seconds = by_clicks(image, mask, truth, spacing, arm)
                clicks[arm].append([scores[count] for count in CLICKS])
                costs += seconds if arm == "engine" else []
            print(kind, case, flush=True)
        names = ("drawn_only", "propagated", "seconds")
        found[kind] = {
            "before": round(float(np.mean(starts)), 4),
            "slices": {
                name: dict(zip(names, np.mean(rows, 0).round(4).tolist(), strict=True)) for name, rows in slices.items()
            },
            "clicks": {
                arm: dict(zip(map(str, CLICKS), np.mean(rows, 0).round(4).tolist(), strict=True))
                for arm, rows in clicks.items()
            },
            "click_seconds": {"median": round(float(np.median(costs)), 4), "highest": round(float(max(costs)), 4)},
        }
    return found


def scan_of_thirty() -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.uint8]]:
    """Image, mask with 30 structures, and the mask with ten redrawn slices of the largest."""
    chance = np.random.default_rng(0)
    mask = np.zeros((512, 512, 400), np.uint8, order="F")
    for label in range(2, 31):
        corner = (40 + 80 * (label % 5), 20 + 80 * (label % 6), 10 + 12 * label)
        mask[tuple(slice(at, at + 30) for at in corner)] = label
    grids = np.ogrid[100:400, 100:400, 80:320]

    def organ(*radii: float) -> Mask:
        return np.asarray(
            sum(((grid - at) / r) ** 2 for grid, at, r in zip(grids, (250, 250, 200), radii, strict=True)) <= 1
        )

    box = (slice(100, 400), slice(100, 400), slice(80, 320))
    mask[box][organ(125, 125, 100)] = 1
    redrawn = mask.copy(order="F")
    truth = organ(132, 120, 108)
    for index in range(110, 300, 20):
        part, wanted = redrawn[100:400, 100:400, index], truth[:, :, index - 80]
        part[wanted & (part == 0)] = 1
        part[~wanted & (part == 1)] = 0
    image = np.asfortranarray((mask > 0) * np.int16(100))
    image[box] += chance.normal(0, 20, (300, 300, 240)).astype(np.int16)
    return image, mask, redrawn


def times() -> dict[str, float]:
    """Processor seconds on the large scan; the best of three."""
    image, mask, redrawn = scan_of_thirty()
    spacing, walls = (0.8, 0.8, 1.0), range(2, 31)
    changed = Change.between(mask, redrawn)
    assert changed is not None
    state = State(mask)

    def clicked(i: int, j: int, k: int) -> Change:
        return click(image, mask, 1, [Click((i, j, k))], spacing, (), 25.0)

    with tempfile.TemporaryDirectory() as folder, closing(Journal(Path(folder))) as journal:
        works: dict[str, Callable[[], object]] = {
            "click at the surface": lambda: clicked(378, 250, 200),
            "click 5 mm away": lambda: clicked(381, 250, 200),
            "click in plain background": lambda: clicked(60, 400, 30),
            "ten slices of the largest structure": lambda: propagate(mask, redrawn, 1, 2, spacing, 10.0, walls),
            "proof that locked structures stayed": lambda: broken(mask, redrawn, walls),
            "change between two masks": lambda: Change.between(mask, redrawn),
            "commit and undo of a click": lambda: commit(journal, state, mask, clicked(378, 250, 200)),
        }
        return {name: round(min(cpu_of(work) for _ in range(3)), 4) for name, work in works.items()}


def commit(journal: Journal, state: State, mask: Any, change: Change) -> None:
    """As the review does it: the mask, its hash and the journal, and back."""
    start = state.sha256
    change.apply(mask)
    state.update(mask, change.box)
    journal.record(change, "reader", "click", start, state.sha256)
    journal.undo().revert(mask)
    state.update(mask, change.box)


def main() -> None:
    parser = parser_of(__doc__, "corrections")
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    record(options.out, {"reach_mm": REACH_MM, "seconds": times(), "atria": atria(options.data)})


if __name__ == "__main__":
    main()
