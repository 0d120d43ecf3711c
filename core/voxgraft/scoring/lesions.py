"""Lesions: the connected parts of a structure in the prediction and in the reference, and which overlap which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

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
        prediction: Boolean, shape (i, j[, k]).
        reference: The same shape.
        connectivity: Neighbours that count as connected: 6 (faces), 18 (and edges) or 26 (and corners); in images of
            two
            axes 4 (or 6) and 8 (or 18, 26).
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
