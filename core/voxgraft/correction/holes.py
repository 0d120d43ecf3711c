"""Holes of a structure: what it encloses within a slice, or in space, becomes the structure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .change import Change, Labels
from .geometry import box_of, check_label, free_voxels

Inside = NDArray[np.bool_]


def fill_holes(
    mask: Labels,
    label: int,
    axis: int | None = None,
    index: int | None = None,
    locked: Collection[int] = (),
    over: bool = False,
) -> Change:
    """Fill what a structure encloses.

    A hole is connected across faces (in a slice, edges of pixels), and does not reach the edge of the mask: nobody
    knows what lies beyond. An axis of one voxel has no such edge, so an image of one slice is filled within it.

    Args:
        mask: The mask (i, j[, k]).
        label: The structure.
        axis: The axis across the slices that are filled one by one; None fills what is enclosed in space.
        index: The only slice that is filled; None for all along the axis.
        locked: Labels of structures that lose and gain no voxel.
        over: Other structures within a hole are filled as well; else they stay, and only background is.

    Raises:
        DataError: An argument is out of range, or the structure is locked.
    """
    check_label(mask, label, locked)
    if axis is not None and axis not in range(mask.ndim):
        raise DataError(f"a mask of {mask.ndim} axes has no slices across axis {axis}")
    if index is not None and axis is None:
        raise DataError(f"slice {index} needs an axis: name the axis across the slices")
    if index is not None and axis is not None and not 0 <= index < mask.shape[axis]:
        raise DataError(f"there is no slice {index} across axis {axis}")
    box = box_of(mask, label)
    if box is None:
        return Change.nothing(mask)
    now = mask[box]
    holes = np.zeros(now.shape, np.bool_)
    edges = [other for other in range(mask.ndim) if other != axis and mask.shape[other] > 1]
    for place in [...] if axis is None else _slices(axis, box[axis], index):
        holes[place] = _enclosed(now[place] == label, edges)
    after = now.copy()
    after[holes & free_voxels(now, locked, over)] = label
    return Change.of_box(mask, box, after)


def _slices(axis: int, along: slice, index: int | None) -> Iterator[tuple[slice, ...]]:
    wanted = range(along.start, along.stop) if index is None else {index} & {*range(along.start, along.stop)}
    for place in wanted:
        yield (*[slice(None)] * axis, slice(place - along.start, place - along.start + 1))


def _enclosed(inside: Inside, edges: Collection[int]) -> Inside:
    """The voxels outside of a structure that no way leads from to the ends of a box along these axes."""
    import cc3d

    whole = inside.reshape(inside.shape + (1,) * (3 - inside.ndim))
    parts: NDArray[Any] = cc3d.connected_components(np.ascontiguousarray(~whole), connectivity=6)
    closed = np.ones(int(parts.max()) + 1, np.bool_)
    closed[0] = False
    for axis in edges:
        closed[np.unique(parts.take([0, -1], axis))] = False
    enclosed: Inside = closed[parts].reshape(inside.shape)
    return enclosed
