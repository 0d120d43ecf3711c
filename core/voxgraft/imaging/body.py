"""Where the body is in a scan: the box beyond which there is nothing but air, a table or padding.

Voxels are counted in blocks of about 4 mm: a block is body where most of its voxels are brighter than a level, so
noise of the air, thin shells of a table and streaks of metal count little. Connected parts that are not tiny beside the
largest one stay: arms, the second leg. A side is cut off only where hardly anything brighter than air lies beyond: a
lung that the border of a scan cuts is as dark as air to the level of the body, but not to the level of air. Where the
channel that shows the body has one value and another channel more, as beyond a field of view, nobody knows: that counts
as brighter than air.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[tuple[int, int], ...]
"""The first position along each axis, and the one after the last."""

BLOCK = 4.0
"""Millimetres of the edge of a block."""
MARGIN = 2
"""Blocks around the body that are kept."""
PART = 0.01
"""Of the largest connected part: how large another must be to count."""
TINY, WHOLE = 0.01, 0.95
"""Shares of the scan: a smaller body is none, and a box that is larger saves nothing."""
BESIDE = 0.25
"""Of the blocks beyond a side of the box: how many may be brighter than air, as a table is."""

NONE, SMALL, ALL = "no body was found", "what was found is too small for a body", "the body fills it"
"""Why the whole scan is searched."""


def body_box(
    channel: NDArray[Any], spacing: Sequence[float], air: float, body: float, others: Sequence[NDArray[Any]] = ()
) -> Box | str:
    """The box of the body with a margin of about 8 mm, or why there is none.

    Memory: a plane of the scan in float32, and a byte for each block.

    Args:
        channel: Intensities of one channel (*spatial); NaN counts as air.
        air: Most of the air is darker.
        body: Most of the body's surface is brighter.
    """
    steps = [max(1, round(BLOCK / step)) for step in spacing]
    inside, matter = (_mostly(channel, steps, level) for level in (body, air))
    inside = _large_parts(inside)
    if not inside.any():
        return NONE
    if inside.mean() < TINY:
        return SMALL
    if others:
        matter |= ~_varies(channel, steps) & np.logical_or.reduce([_varies(other, steps) for other in others])
    kept = [_kept(inside, matter, axis) for axis in range(inside.ndim)]
    box = tuple(
        (low * step, min(size, high * step)) for (low, high), step, size in zip(kept, steps, channel.shape, strict=True)
    )
    share = np.prod([(high - low) / size for (low, high), size in zip(box, channel.shape, strict=True)])
    return ALL if share > WHOLE else box


def _mostly(channel: NDArray[Any], steps: Sequence[int], level: float) -> NDArray[np.bool_]:
    """Of each block, whether at least half of its voxels are brighter than a level."""
    along = int(np.argmax(np.abs(channel.strides)))  # planes that lie together in memory
    planes, step = np.moveaxis(channel, along, 0), steps[along]
    others = [edge for axis, edge in enumerate(steps) if axis != along]
    rows = []
    for start in range(0, len(planes), step):
        some = planes[start : start + step]
        count = (some > level).sum(0, dtype=np.uint32)
        voxels = np.full(count.shape, len(some), np.uint32)
        for axis, edge in enumerate(others):
            edges = np.arange(0, count.shape[axis], edge)
            count, voxels = (np.add.reduceat(each, edges, axis) for each in (count, voxels))
        rows.append(2 * count >= voxels)
    return np.moveaxis(np.stack(rows), 0, along)


def _varies(channel: NDArray[Any], steps: Sequence[int]) -> NDArray[np.bool_]:
    """Of each block, whether it and those around it hold more than one value; a block may be a single voxel."""
    from scipy.ndimage import maximum_filter, minimum_filter

    low = high = channel
    for axis, (step, size) in enumerate(zip(steps, channel.shape, strict=True)):
        edges = np.arange(0, size, step)
        low, high = np.minimum.reduceat(low, edges, axis), np.maximum.reduceat(high, edges, axis)
    return np.asarray(maximum_filter(np.nan_to_num(high), 3) > minimum_filter(np.nan_to_num(low), 3))


def _large_parts(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part and those that are not tiny beside it."""
    from scipy.ndimage import label

    numbers, _ = label(inside)
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    large = sizes >= max(1.0, PART * sizes.max(initial=0))
    return np.asarray(large[numbers])


def _kept(inside: NDArray[np.bool_], matter: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """The blocks along an axis that hold the body, with the margin; to the border where not only air lies beyond."""
    along = np.flatnonzero(np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1).any(1))
    share = np.moveaxis(matter, axis, 0).reshape(matter.shape[axis], -1).mean(1)
    low, high = max(0, int(along[0]) - MARGIN), min(len(share), int(along[-1]) + 1 + MARGIN)
    dark_before, dark_after = (not part.size or part.mean() <= BESIDE for part in (share[:low], share[high:]))
    return low if dark_before else 0, high if dark_after else len(share)
