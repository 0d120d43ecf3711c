"""Metrics of surfaces, in millimetres; a surface is made of the mask's voxels that share a face with its outside."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from voxgraft.interfaces import Metric
from voxgraft.scoring.pair import MaskPair

from .config import SurfaceDiceConfig

ROUNDING = 1e-4
"""Millimetres that distances may be too long by rounding; no tolerance is meant more exactly."""


def hd95(pair: MaskPair) -> float:
    """The larger of the two 95th percentiles: prediction to reference, reference to prediction.

    As MONAI has it; other programs take the percentile of both sets together, which is mostly smaller.
    """
    return _hausdorff(pair, 95.0)


def hd(pair: MaskPair) -> float:
    """The Hausdorff distance: the longest way from a voxel of one surface to the other surface."""
    return _hausdorff(pair, 100.0)


def assd(pair: MaskPair) -> float:
    """The average symmetric surface distance: the mean over the voxels of both surfaces."""
    surfaces = pair.surfaces
    if surfaces is None:
        return math.nan
    return float(np.concatenate([surfaces.prediction, surfaces.reference]).mean())


class SurfaceDice:
    """The part of the voxels of both surfaces that is no further than a tolerance from the other surface.

    The normalised surface Dice of Nikolov et al. (arXiv 1809.04430) with surfaces counted in voxels.
    """

    def __init__(self, config: SurfaceDiceConfig) -> None:
        self.tolerance = config.tolerance

    def __call__(self, pair: MaskPair) -> float:
        surfaces = pair.surfaces
        if surfaces is None:
            return 0.0 if pair.counts.predicted or pair.counts.referred else math.nan
        distances = np.concatenate([surfaces.prediction, surfaces.reference])
        return float((distances <= self.tolerance + ROUNDING).mean())


METRICS: Mapping[str, Metric] = {"hd95": hd95, "hd": hd, "assd": assd}


def _hausdorff(pair: MaskPair, percentile: float) -> float:
    surfaces = pair.surfaces
    if surfaces is None:
        return math.nan
    return float(max(np.percentile(part, percentile) for part in (surfaces.prediction, surfaces.reference)))
