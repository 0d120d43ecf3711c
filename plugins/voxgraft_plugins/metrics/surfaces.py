"""Metrics of surfaces, in millimetres; what a surface is made of is an option (see docs/metrics.md)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from voxgraft.plugin import MaskPair, SurfaceDistances

from .options import AverageOptions, DistanceOptions, PercentileOptions, SurfaceDiceOptions

ROUNDING = 1e-4
"""Millimetres that distances may be too long by rounding; no tolerance is meant more exactly."""

Part = tuple[NDArray[np.float64], NDArray[np.float64] | None]
"""Distances, and the area of the element at each."""


class Hausdorff:
    """The longest way from one surface to the other, or the 95th percentile of the ways.

    A percentile is the larger one of the two directions, as MONAI has it, or that of both directions together
    (`pooled`), as MedPy has it. By area it is the smallest distance within which that share of the area lies, as the
    package surface-distance has it.
    """

    def __init__(self, options: DistanceOptions | PercentileOptions, percentile: float) -> None:
        self.surface, self.percentile = options.surface, percentile
        self.pooled = isinstance(options, PercentileOptions) and options.pooled

    def __call__(self, pair: MaskPair) -> float:
        surfaces = _surfaces(pair, self.surface)
        if surfaces is None:
            return math.nan
        parts = [_both(surfaces)] if self.pooled else _directions(surfaces)
        return max(_percentile(part, self.percentile) for part in parts)


class AverageDistance:
    """The average symmetric surface distance: the mean over both surfaces, or of the means of the two directions."""

    def __init__(self, options: AverageOptions) -> None:
        self.surface, self.pooled = options.surface, options.pooled

    def __call__(self, pair: MaskPair) -> float:
        surfaces = _surfaces(pair, self.surface)
        if surfaces is None:
            return math.nan
        parts = [_both(surfaces)] if self.pooled else _directions(surfaces)
        return float(np.mean([np.average(distances, weights=sizes) for distances, sizes in parts]))


class SurfaceDice:
    """The part of both surfaces that is no further than a tolerance from the other surface.

    The normalised surface Dice of Nikolov et al. (arXiv 1809.04430), with surfaces counted in voxels, or by area.
    """

    def __init__(self, options: SurfaceDiceOptions) -> None:
        self.surface, self.tolerance = options.surface, options.tolerance

    def __call__(self, pair: MaskPair) -> float:
        surfaces = _surfaces(pair, self.surface)
        if surfaces is None:
            return 0.0 if pair.counts.predicted or pair.counts.referred else math.nan
        distances, sizes = _both(surfaces)
        return float(np.average(distances <= self.tolerance + ROUNDING, weights=sizes))


def _surfaces(pair: MaskPair, kind: str) -> SurfaceDistances | None:
    return pair.areas if kind == "area" else pair.surfaces


def _directions(surfaces: SurfaceDistances) -> list[Part]:
    return [(surfaces.prediction, surfaces.prediction_sizes), (surfaces.reference, surfaces.reference_sizes)]


def _both(surfaces: SurfaceDistances) -> Part:
    sizes = None
    if surfaces.prediction_sizes is not None and surfaces.reference_sizes is not None:
        sizes = np.concatenate([surfaces.prediction_sizes, surfaces.reference_sizes])
    return np.concatenate([surfaces.prediction, surfaces.reference]), sizes


def _percentile(part: Part, percentile: float) -> float:
    distances, sizes = part
    if sizes is None or percentile == 100.0:
        return float(np.percentile(distances, percentile))
    order = np.argsort(distances, kind="stable")
    shares = np.cumsum(sizes[order]) / sizes.sum()
    index = min(int(np.searchsorted(shares, percentile / 100.0)), len(order) - 1)
    return float(distances[order[index]])
