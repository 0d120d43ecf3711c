"""One structure in a predicted mask and in its reference, cropped to where it is: what a metric is computed from.

The rules for empty structures, stated once. A metric that is not defined for a case is NaN there: the case is left out
of that structure's mean, and counted beside it as undefined.

- Both masks empty: there is nothing to find and nothing was found. Every overlap metric (Dice, IoU, F-beta, precision,
  recall), every distance, the surface Dice and the metrics of lesions are NaN.
- Only the prediction empty: Dice, IoU, F-beta, recall and surface Dice are 0, of lesions recall and F1; precision is
  0/0, so NaN; distances are NaN.
- Only the reference empty: Dice, IoU, F-beta, precision and surface Dice are 0, of lesions precision and F1; recall is
  0/0, so NaN; distances and the relative difference of volumes are NaN.
- Accuracy and the difference of volumes are always defined; specificity is NaN where the reference fills the image.

A distance to a mask that is not there has no value, and a made-up one (the image's diagonal, infinity) would decide
the mean: read distances beside Dice and beside the number of cases where they are undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.structures import Box, boxes_of, union
from .surface import SurfaceDistances, surface_distances

if TYPE_CHECKING:
    from .calibration import Binning, Reliability
    from .lesions import Lesions

Integers = NDArray[np.integer[Any]] | NDArray[np.bool_]


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

    def plus(self, other: Counts) -> Counts:
        """The counts of both together."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


@dataclass(frozen=True)
class MaskPair:
    """One structure of one case. What several metrics need is worked out once, when the first of them asks for it.

    Attributes:
        counts: Voxel counts, made once for all structures of the case.
        spacing: Millimetres along each axis.
        masks: Gives the two boolean masks (prediction, reference), cropped to where either is, with a margin of one
            voxel that is outside both; only metrics of surfaces and of lesions call it.
        measured: Gives the distances between the surfaces where they were measured for all structures of the case
            together.
        calibrated: Gives how the probabilities of the structure fall into bins; None where there are none.

    Examples:
        >>> from voxgraft.components.choice import choose
        >>> found, wanted = np.zeros((2, 8, 8, 8), bool)
        >>> wanted[2:4, 2:4, 2:4], found[2:4, 2:4, 2:5] = True, True
        >>> pair = MaskPair(Counts(tp=8, fp=4, fn=0, tn=500), (1.0, 1.0, 3.0), lambda: (found, wanted))
        >>> choose(vg.catalogue(), "metric", {"use": "dice"}).build()(pair)
        0.8
    """

    counts: Counts
    spacing: tuple[float, ...]
    masks: Callable[[], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    measured: Callable[[], SurfaceDistances | None] | None = None
    calibrated: Callable[[Binning], Reliability | None] | None = None
    _lesions: dict[tuple[int, float], Lesions] = field(default_factory=dict, compare=False, repr=False)

    @property
    def empty(self) -> bool:
        """Whether either mask is empty, so that there are no distances."""
        return not self.counts.predicted or not self.counts.referred

    @cached_property
    def surfaces(self) -> SurfaceDistances | None:
        """The distances between the voxels of the two surfaces; None where a mask is empty."""
        if self.empty:
            return None
        if self.measured is not None:
            return self.measured()
        return surface_distances(*self.masks(), self.spacing)

    @cached_property
    def areas(self) -> SurfaceDistances | None:
        """The same with surfaces as elements that have an area (`voxgraft.scoring.surface`)."""
        from .surface import area_distances

        return None if self.empty else area_distances(*self.masks(), self.spacing)

    def lesions(self, connectivity: int = 26, smallest: float = 0.0) -> Lesions:
        """The connected parts of both masks (see `voxgraft.scoring.lesions.find_lesions`)."""
        from .lesions import find_lesions

        key = connectivity, smallest
        if key not in self._lesions:
            self._lesions[key] = find_lesions(*self.masks(), self.spacing, connectivity, smallest)
        return self._lesions[key]


class Crops:
    """Cuts boolean masks of single structures out of a predicted and a reference label array of one shape.

    Args:
        values: The values that will be asked for.
    """

    def __init__(self, prediction: Integers, reference: Integers, values: Sequence[int]) -> None:
        self._arrays = tuple(_numbers(array) for array in (prediction, reference))
        self._highest = max(values)

    def masks(self, *values: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The masks (prediction, reference) of what has any of these values, with a margin of one voxel."""
        box = union(*(boxes[value - 1] for boxes in self._boxes for value in values))
        prediction, reference = (self._cut(array, box, values) for array in self._arrays)
        return prediction, reference

    @cached_property
    def _boxes(self) -> list[list[Box | None]]:
        """For both arrays the box of each value from 1 on; None where the value is not there."""
        return [boxes_of(array, self._highest) for array in self._arrays]

    def _cut(self, array: NDArray[Any], box: Box | None, values: Sequence[int]) -> NDArray[np.bool_]:
        """The margin is made here, not cut out: a structure may touch the border of the image."""
        if box is None:
            inside = np.zeros((0,) * array.ndim, np.bool_)
        elif len(values) == 1:
            inside = array[box] == values[0]
        else:
            inside = np.isin(array[box], values)
        mask = np.zeros(tuple(n + 2 for n in inside.shape), np.bool_)
        mask[(slice(1, -1),) * array.ndim] = inside
        return mask


def _numbers(array: Integers) -> NDArray[Any]:
    return array.view(np.uint8) if array.dtype == np.bool_ else array
