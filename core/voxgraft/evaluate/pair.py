"""One structure in a predicted mask and in its reference: what a metric is computed from.

The rules for empty structures, stated once: where both masks are empty there is nothing to find and nothing was
found, so every overlap metric is NaN and the case is left out of that structure's mean (its number is reported). Where
just one is empty, Dice, IoU, precision and recall are 0 as far as their formula is 0/x; a 0/0 (precision of an
empty prediction, recall of an empty reference) is NaN. Accuracy is always defined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Counts:
    """Voxels of one structure: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True)
class MaskPair:
    """One structure of one case.

    Attributes:
        counts: Voxel counts, made once for all structures of the case.
        spacing: Millimetres along each axis.
        masks: Gives the two boolean masks (prediction, reference), cropped to where either is, with a margin of one
            voxel; only metrics of surfaces call it.
    """

    counts: Counts
    spacing: tuple[float, ...]
    masks: Callable[[], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
