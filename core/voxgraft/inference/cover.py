"""The windows that it takes to search a part of an image.

They are some of those that cover the whole image, so where none of the others reached, logits are bit for bit the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..imaging.body import Box
from .sliding import window_starts


@dataclass(frozen=True, slots=True)
class Cover:
    """Windows over a part of an image.

    Attributes:
        part: What they cover, in voxels of the image.
        starts: Where they begin along each axis, in voxels of the image.
    """

    part: Box
    starts: tuple[tuple[int, ...], ...]

    @property
    def crop(self) -> tuple[slice, ...]:
        return tuple(slice(*ends) for ends in self.part)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(high - low for low, high in self.part)

    @property
    def within(self) -> tuple[tuple[int, ...], ...]:
        """Where windows begin, in voxels of the part."""
        return tuple(tuple(s - low for s in row) for row, (low, _) in zip(self.starts, self.part, strict=True))


def covering(shape: Sequence[int], roi: Sequence[int], overlap: float, box: Box | None) -> Cover:
    """The fewest consecutive windows along each axis that cover a box; all, where there is none.

    Args:
        shape: Voxels of the image.
        roi: Voxels of a window.
        overlap: The share by which neighbouring windows overlap.
        box: In voxels of the image.
    """
    rows, part = [], []
    for size, edge, (low, high) in zip(shape, roi, box or [(0, n) for n in shape], strict=True):
        starts = window_starts(size, edge, overlap)
        first = max((start for start in starts if start <= low), default=0)
        last = min((start for start in starts if start + edge >= high and start >= first), default=starts[-1])
        rows.append(tuple(start for start in starts if first <= start <= last))
        part.append((first, min(size, last + edge)))
    return Cover(tuple(part), tuple(rows))


def on_grid(box: Box, old: Sequence[int], new: Sequence[int]) -> Box:
    """A box on another grid over the same extent; a voxel that it cuts belongs to it.

    Args:
        old: Voxels of the grid that it is given on.
        new: Of the other.
    """
    return tuple(
        (math.floor(low * after / before), math.ceil(high * after / before))
        for (low, high), before, after in zip(box, old, new, strict=True)
    )
