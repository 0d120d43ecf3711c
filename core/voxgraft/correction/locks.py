"""Structures that are finished are walls: which voxels of them a change would touch, and the same change without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from .change import Labels, check_alike, slabs


@dataclass(frozen=True, slots=True)
class Counts:
    """Voxels of one structure that a change touches.

    Attributes:
        gained: Voxels that belong to the structure only afterwards.
        lost: Voxels that belonged to it only before.
    """

    gained: int = 0
    lost: int = 0

    @property
    def changed(self) -> int:
        """Voxels that were gained or lost."""
        return self.gained + self.lost


def changes(before: Labels, after: Labels) -> dict[int, Counts]:
    """Voxels gained and lost by each structure that changes (the background, 0, among them), in one pass over memory.

    Args:
        before: A mask (i, j[, k]).
        after: A mask of the same shape.

    Raises:
        DataError: They differ in shape, or hold no whole numbers.
    """
    check_alike(before, after)
    lost: Counter[int] = Counter()
    gained: Counter[int] = Counter()
    for _, one, other in slabs(before, after):
        differs = one != other
        if differs.any():
            _count(one[differs], lost)
            _count(other[differs], gained)
    return {label: Counts(gained[label], lost[label]) for label in sorted({*gained, *lost})}


def broken(before: Labels, after: Labels, locked: Collection[int]) -> dict[int, int]:
    """How many voxels of each locked structure were gained or lost; empty proves that no locked structure changed.

    Args:
        before: A mask (i, j[, k]).
        after: A mask of the same shape.
        locked: The labels of structures that must stay as they are; 0 locks the background.

    Raises:
        DataError: The masks differ in shape, or hold no whole numbers.
    """
    return {label: counts.changed for label, counts in changes(before, after).items() if label in locked}


def keep(before: Labels, after: Labels, locked: Collection[int]) -> Labels:
    """A copy of `after` in which every locked structure has exactly the voxels that it has in `before`.

    Args:
        before: A mask (i, j[, k]).
        after: A mask of the same shape.
        locked: The labels of structures that must stay as they are.

    Raises:
        DataError: The masks differ in shape, or hold no whole numbers.
    """
    check_alike(before, after)
    kept: Labels = after.astype(np.promote_types(before.dtype, after.dtype), order="K")
    values = np.asarray(sorted(locked), dtype=np.int64)
    for _, one, new in slabs(before, kept):
        differs = one != new
        if len(values) and differs.any():
            wall = np.zeros(one.shape, np.bool_)
            wall[differs] = np.isin(one[differs], values) | np.isin(new[differs], values)
            np.copyto(new, one, where=wall)
    return kept


def _count(values: Labels, counter: Counter[int]) -> None:
    if values.dtype.kind in "bu" and values.dtype.itemsize <= 2:
        counts = np.bincount(values)
        labels = np.flatnonzero(counts)
        found = zip(labels.tolist(), counts[labels].tolist(), strict=True)
    else:
        found = zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True)
    for label, number in found:
        counter[int(label)] += number
