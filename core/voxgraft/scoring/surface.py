"""Surfaces of masks, and the distances between them in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CROWDED = 4
"""Masks of noise, whose surfaces hold more than one voxel in four, are measured by distance transforms."""


@dataclass(frozen=True, slots=True)
class SurfaceDistances:
    """How far each voxel of one surface is from the nearest voxel of the other.

    Attributes:
        prediction: Millimetres from each surface voxel of the prediction to the surface of the reference.
        reference: Millimetres from each surface voxel of the reference to the surface of the prediction.
    """

    prediction: NDArray[np.float64]
    reference: NDArray[np.float64]


def surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels of a mask that share a face with a voxel outside it; beyond the array is outside."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        along, within = np.moveaxis(mask, axis, 0), np.moveaxis(inside, axis, 0)
        within[1:] &= along[:-1]
        within[:-1] &= along[1:]
        within[0] = False
        within[-1] = False
    return mask & ~inside


def surface_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks that hold at least one voxel each.

    Voxels that are on both surfaces are at distance 0; for the others a k-d tree of the other surface is asked, which
    took a third of the time of two distance transforms for masks that nearly agree, and memory for surfaces only.

    Args:
        prediction: Boolean, shape (i, j[, k]).
        reference: The same shape.
        spacing: Millimetres along each axis.
    """
    found, wanted = surface(prediction), surface(reference)
    if CROWDED * (np.count_nonzero(found) + np.count_nonzero(wanted)) > found.size:
        return SurfaceDistances(_by_transform(found, wanted, spacing), _by_transform(wanted, found, spacing))
    return SurfaceDistances(_by_tree(found, wanted, spacing), _by_tree(wanted, found, spacing))


def _by_tree(start: NDArray[np.bool_], end: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    away = ~end[start]
    distances = np.zeros(len(away))
    if away.any():
        tree = cKDTree(np.argwhere(end) * np.asarray(spacing), leafsize=32, balanced_tree=False, compact_nodes=False)
        distances[away] = tree.query(np.argwhere(start & ~end) * np.asarray(spacing))[0]
    return distances


def _by_transform(start: NDArray[np.bool_], end: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    import edt

    transform: NDArray[Any] = edt.edt(np.ascontiguousarray(~end), anisotropy=tuple(spacing), parallel=1)
    return transform[start].astype(np.float64)
