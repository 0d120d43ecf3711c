"""Our surface distances beside two that are shorter: edt alone, and no search among neighbours.

    python benchmarks/bought_surfaces.py [--rounds 3]

"edt" makes one distance transform for each mask of each structure, in the box that holds both; "far" is our code
without the search among neighbours, so that every element is looked up in a k-d tree or a distance transform. Whole
calls of `measure_case` with HD95 and NSD, by voxels and by area, in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from measured import in_turns, machine, parser_of
from scipy import ndimage
from scoring import Masks, far, near, organs

from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.scoring import masks, surface
from voxgraft.scoring.case import measure_case
from voxgraft.scoring.surface import SurfaceDistances

Distances = dict[int, SurfaceDistances]
CATALOGUE = discover()


def _both(found: np.ndarray, wanted: np.ndarray, spacing: Sequence[float]) -> SurfaceDistances:
    import edt

    squares = [edt.edtsq(~mask, anisotropy=tuple(spacing), parallel=1) for mask in (wanted, found)]
    return SurfaceDistances(
        *(np.sqrt(square[mask].astype(np.float64)) for square, mask in zip(squares, (found, wanted), strict=True))
    )


def edt_labels(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> Distances:
    """As `label_surface_distances`."""
    order = sorted(range(reference.ndim), key=lambda axis: -abs(reference.strides[axis]))
    steps = [float(spacing[axis]) for axis in order]
    labels = [np.ascontiguousarray(array.transpose(order)) for array in (prediction, reference)]
    boxes = [ndimage.find_objects(array) for array in labels]
    edges = [surface._surface(array, 0) for array in labels]
    result = {}
    for label, (one, other) in enumerate(zip(*boxes, strict=False), 1):
        if one and other:
            box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
            result[label] = _both(edges[0][box] == label, edges[1][box] == label, steps)
    return result


def edt_elements(found: np.ndarray, wanted: np.ndarray, spacing: Sequence[float], pads: Sequence[int]) -> Distances:
    """As `distances_between`, for one structure."""
    return {1: _both(found > 0, wanted > 0, spacing)}


@contextmanager
def way(name: str) -> Iterator[None]:
    """Our code, or one of the shorter ways in its place."""
    if name == "edt":
        with (
            patch.object(masks, "label_surface_distances", edt_labels),
            patch.object(surface, "distances_between", edt_elements),
        ):
            yield
    elif name == "far":
        with patch.object(surface, "_near", lambda points, other, shells: np.full(len(points.places), np.inf)):
            yield
    else:
        yield


def lesions(size: tuple[int, int, int], number: int) -> Masks:
    """Small structures, and a prediction that finds each and one more far away."""
    draw = np.random.default_rng(0)
    reference = np.zeros(size, np.uint8)
    prediction = reference.copy()
    for label in range(1, number + 1):
        for both in ((prediction, reference), (prediction,)):
            at = [int(draw.integers(5, n - 5)) for n in size]
            for mask in both:
                mask[tuple(slice(n - 3, n + 3) for n in at)] = label
    return prediction, reference


def measured(given: Masks, classes: int, spacing: Sequence[float], by_area: bool) -> Callable[[], Any]:
    extra = {"surface": "area"} if by_area else {}
    metrics = [choose(CATALOGUE, "metric", {"use": use, **extra}) for use in ("hd95", "nsd")]
    labels = Labels.of({str(value): value for value in range(1, classes + 1)})
    pair = [Volume(mask, np.diag([*spacing, 1.0])) for mask in given]

    def measure() -> list[list[float]]:
        return [list(found.values()) for found in measure_case(*pair, labels, metrics).values.values()]

    return measure


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(machine(), {name: version(name) for name in ("edt", "scipy")})
    cases: dict[str, tuple[Callable[[], Masks], int, tuple[float, ...]]] = {
        "30 organs, 300 a side, near": (lambda: near(organs(300, 30)), 30, (1.0, 1.0, 1.0)),
        "30 organs, 300 a side, far": (lambda: far(organs(300, 30)), 30, (1.0, 1.0, 1.0)),
        "30 organs, 200 a side, thick slices": (lambda: near(organs(200, 30)), 30, (0.7, 0.9, 3.1)),
        "5 lesions and false ones, 512x512x300": (lambda: lesions((512, 512, 300), 5), 5, (0.7, 0.7, 1.5)),
    }
    for name, (make, classes, spacing) in cases.items():
        given = make()
        for by_area in (False, True):
            measure = measured(given, classes, spacing, by_area)
            gave: dict[str, Any] = {}

            def call(kind: str, measure: Callable[[], Any] = measure, gave: dict[str, Any] = gave) -> None:
                with way(kind):
                    gave[kind] = np.array(measure(), float)

            taken = in_turns({kind: partial(call, kind) for kind in ("ours", "edt", "far")}, rounds)
            seconds = {kind: median(one.cpu for one in every) for kind, every in taken.items()}
            print(f"{name}{', by area' if by_area else ''}: ours {seconds['ours']:.3f} s")
            for kind in ("edt", "far"):
                apart, longer = np.nanmax(np.abs(gave[kind] - gave["ours"])), seconds[kind] / seconds["ours"]
                print(f"    {kind} {longer:.1f} times as long, values apart by {apart:.1e}", flush=True)


if __name__ == "__main__":
    main()
