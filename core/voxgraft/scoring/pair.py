"""One structure in a predicted mask and in its reference: what a metric is computed from.

The rules for empty structures, stated once. A metric that is not defined for a case is NaN there: the case is left out
of that structure's mean, and counted beside it as undefined.

- Both masks empty: there is nothing to find and nothing was found. Every overlap metric (Dice, IoU, precision, recall),
  every distance and the surface Dice are NaN.
- Only the prediction empty: Dice, IoU, recall and surface Dice are 0; precision is 0/0, so NaN; distances are NaN.
- Only the reference empty: Dice, IoU, precision and surface Dice are 0; recall is 0/0, so NaN; distances are NaN.
- Accuracy and the difference of volumes are always defined; specificity is NaN where the reference fills the image.

A distance to a mask that is not there has no value, and a made-up one (the image's diagonal, infinity) would decide
the mean: read distances beside Dice and beside the number of cases where they are undefined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .surface import SurfaceDistances, surface_distances


@dataclass(frozen=True, slots=True)
class Counts:
    """Voxels of one structure: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def predicted(self) -> int:
        return self.tp + self.fp

    @property
    def referred(self) -> int:
        """Voxels of the reference."""
        return self.tp + self.fn


@dataclass(frozen=True)
class MaskPair:
    """One structure of one case.

    Attributes:
        counts: Voxel counts, made once for all structures of the case.
        spacing: Millimetres along each axis.
        masks: Gives the two boolean masks (prediction, reference), cropped to where either is, with a margin of one
            voxel that is outside both; only metrics of surfaces call it.
    """

    counts: Counts
    spacing: tuple[float, ...]
    masks: Callable[[], tuple[NDArray[np.bool_], NDArray[np.bool_]]]

    @cached_property
    def surfaces(self) -> SurfaceDistances | None:
        """The distances between the two surfaces, measured once for all metrics; None where a mask is empty."""
        if not self.counts.predicted or not self.counts.referred:
            return None
        return surface_distances(*self.masks(), self.spacing)
