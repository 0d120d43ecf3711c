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

Lesions are the connected parts of a structure in the prediction and in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.structures import Box, boxes_of, union
from .surface import SurfaceDistances, surface_distances

if TYPE_CHECKING:
    from .calibration import Binning, Reliability

NEIGHBOURS = {3: {6: 6, 18: 18, 26: 26}, 2: {4: 4, 6: 4, 8: 8, 18: 8, 26: 8}}
"""For images of so many axes: what an option of connectivity means there."""


@dataclass(frozen=True, slots=True)
class Lesions:
    """The lesions of both masks.

    Attributes:
        predicted: Voxels of each lesion of the prediction.
        referred: Voxels of each lesion of the reference.
        pairs: Shape (pair, 2): lesions of prediction and reference (from 0 on) that share a voxel.
        shared: Voxels that each pair shares.
    """

    predicted: NDArray[np.int64]
    referred: NDArray[np.int64]
    pairs: NDArray[np.int64]
    shared: NDArray[np.int64]

    def hits(self, iou: float) -> tuple[int, int]:
        """How many lesions of the prediction are right, and how many of the reference were found.

        Args:
            iou: 0: a lesion counts where it shares any voxel with the other mask. Above 0: lesions are matched one to
                one among the pairs whose intersection over union is at least this, so that as many as possible are
                (both numbers are then the same).
        """
        if iou <= 0:
            return len(np.unique(self.pairs[:, 0])), len(np.unique(self.pairs[:, 1]))
        union = self.predicted[self.pairs[:, 0]] + self.referred[self.pairs[:, 1]] - self.shared
        good = self.pairs[self.shared >= iou * union * (1 - 1e-12)]
        number = _most_pairs(good, (len(self.predicted), len(self.referred)))
        return number, number


def find_lesions(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing: Sequence[float],
    connectivity: int = 26,
    smallest: float = 0.0,
) -> Lesions:
    """Find the lesions of two masks.

    Args:
        connectivity: Neighbours that count as connected: 6 (faces), 18 (and edges) or 26 (and corners); in images of
            two axes 4 (or 6) and 8 (or 18, 26).
        smallest: Cubic millimetres (square ones in 2D) that a lesion must have; smaller ones are taken out of both
            masks before anything is matched.

    Raises:
        DataError: Images of so many axes have no such connectivity.
    """
    neighbours = NEIGHBOURS[prediction.ndim]
    if connectivity not in neighbours:
        raise DataError(
            f"images of {prediction.ndim} axes have no connectivity {connectivity}; choose {list(neighbours)}"
        )
    least = smallest / math.prod(spacing) * (1 - 1e-9)
    (labelled, predicted), (truth, referred) = (
        _components(mask, neighbours[connectivity], least) for mask in (prediction, reference)
    )
    both = (labelled > 0) & (truth > 0)
    codes, shared = np.unique(
        (labelled[both].astype(np.int64) - 1) * max(1, len(referred)) + truth[both] - 1, return_counts=True
    )
    pairs = np.stack(np.divmod(codes, max(1, len(referred))), -1)
    return Lesions(predicted, referred, pairs, shared.astype(np.int64))


def _components(mask: NDArray[np.bool_], connectivity: int, least: float) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Numbers from 1 on for the components of at least so many voxels, and the voxels of each."""
    import cc3d

    numbers: NDArray[Any] = np.asarray(cc3d.connected_components(mask.view(np.uint8), connectivity=connectivity))
    sizes = np.bincount(numbers.ravel(order="K"))[1:]
    keep = sizes >= least
    if not keep.all():
        lookup = np.concatenate([[0], np.where(keep, np.cumsum(keep), 0)])
        numbers = lookup[numbers]
    return numbers, sizes[keep].astype(np.int64)


def _most_pairs(pairs: NDArray[np.int64], shape: tuple[int, int]) -> int:
    """The largest number of pairs in which no lesion appears twice."""
    if not len(pairs):
        return 0
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = csr_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=shape)
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


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
        """The connected parts of both masks (see `find_lesions`)."""
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
        self._arrays = tuple(a.view(np.uint8) if a.dtype == np.bool_ else a for a in (prediction, reference))
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
        part = array[box if box is not None else (slice(0, 0),) * array.ndim]
        return np.pad(part == values[0] if len(values) == 1 else np.isin(part, values), 1)
