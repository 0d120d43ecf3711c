"""A mask as the planes of its segments: which segment has voxels in which slice, and the bits of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgraft.plugin import Array, DataError, Volume

if TYPE_CHECKING:
    from voxgraft.plugin import Labels

COLOURS = (
    (230, 60, 60), (60, 180, 75), (65, 105, 225), (255, 200, 25), (145, 30, 180), (70, 220, 220),
    (245, 130, 48), (240, 50, 230), (170, 220, 60), (250, 170, 190), (0, 128, 128), (170, 110, 40),
)  # fmt: skip
"""Of the first, second ... structure (red, green, blue), from the thirteenth on the first again."""


@dataclass(frozen=True, slots=True)
class Segments:
    """The structures of a mask as segments 1, 2, ... in the order of its labels.

    Attributes:
        array: Shape (column, row, slice): segment numbers; or (segment, column, row, slice): 0 and others, where
            structures may overlap.
        count: The number of segments.
        found: Bool (segment, slice): where a segment has voxels.
    """

    array: Array
    count: int
    found: Array

    @property
    def overlap(self) -> bool:
        """Whether structures may overlap."""
        return self.array.ndim == 4

    @property
    def slices(self) -> int:
        return int(self.array.shape[-1])

    def plane(self, number: int, k: int) -> Array:
        """Where a segment is in a slice: bool, shape (row, column)."""
        if self.overlap:
            return np.asarray(self.array[number - 1, :, :, k].T != 0)
        return np.asarray(np.equal(self.array[:, :, k].T, number))

    def numbers(self, k: int) -> Array:
        """The segment numbers of a slice, shape (row, column), where structures do not overlap."""
        return np.asarray(self.array[:, :, k].T)


def segments_of(volume: Volume, labels: Labels, target: Path) -> Segments:
    """The segments of a mask.

    Args:
        volume: Label values (i, j[, k]), or 0 and 1 in a channel for each label.

    Raises:
        DataError: It is no such mask, or holds values that no label names.
    """
    mask = volume.array.view(np.uint8) if volume.array.dtype == np.bool_ else volume.array
    if mask.dtype.kind not in "iu":
        raise DataError(f"{target}: a mask holds whole numbers, this one is of type {mask.dtype}")
    shape = (*volume.shape, 1)[:3]
    if volume.array.ndim > volume.dims:
        return _of_channels(mask.reshape(volume.channels, *shape), labels, target)
    return _of_values(mask.reshape(shape), labels, target)


def _of_channels(mask: Array, labels: Labels, target: Path) -> Segments:
    if len(mask) != len(labels.items):
        raise DataError(
            f"{target}: a mask of {len(mask)} channels needs a name for each, {len(labels.items)} are given"
        )
    ignored = labels.ignored
    if ignored is not None and (mask[0] == ignored).any():
        mask = np.where(mask == ignored, 0, mask)
    if mask.size and (int(mask.min()) < 0 or int(mask.max()) > 1):
        raise DataError(f"{target}: a mask with a channel for each structure holds 0 and 1 only")
    found = np.stack([mask[:, :, :, k].any(axis=(1, 2)) for k in range(mask.shape[3])], axis=1)
    return Segments(mask, len(mask), found)


def _of_values(mask: Array, labels: Labels, target: Path) -> Segments:
    low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"{target}: a mask holds values from 0 to 65535, this one has {low if low < 0 else high}")
    count = len(labels.values)
    table = np.full(max(high, *labels.values) + 1, -1, np.int32)
    table[[0, *labels.values]] = np.arange(count + 1)
    if labels.ignored is not None and labels.ignored <= high and labels.ignored not in labels.values:
        table[labels.ignored] = 0
    straight = np.array_equal(table[: count + 1], np.arange(count + 1)) and mask.dtype.itemsize <= 2
    numbers = mask if straight else np.empty(mask.shape, np.uint8 if count < 256 else np.uint16, order="F")
    found = np.zeros((count, mask.shape[2]), bool)
    for k in range(mask.shape[2]):
        plane = mask[:, :, k]
        if not plane.any():
            if not straight:
                numbers[:, :, k] = 0
            continue
        present = np.flatnonzero(np.bincount(plane.ravel(order="K"), minlength=1))
        segments = table[present]
        if segments.min() < 0:
            unnamed = [int(value) for value in present[segments < 0][:10]]
            raise DataError(f"{target}: the mask holds the values {unnamed}, which no label names")
        found[segments[segments > 0] - 1, k] = True
        if not straight:
            numbers[:, :, k] = table[plane]
    return Segments(numbers, count, found)
