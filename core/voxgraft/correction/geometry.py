"""What slices and clicks share: checked arguments, boxes, and signed distances in millimetres."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.structures import Box
from .change import Labels, by_memory, slabs

Distances = NDArray[np.float32]

LARGE = 10**6
"""Voxels from which on a second core is worth waking."""


def check_label(mask: Labels, label: int, locked: Collection[int]) -> None:
    """Refuse a structure that cannot be corrected.

    Args:
        mask: The mask that it is part of.
        label: The structure.
        locked: Labels of structures that stay as they are.

    Raises:
        DataError: It is the background, is locked, or its label does not fit into the mask.
    """
    if label in locked:
        raise DataError(f"structure {label} is locked; unlock it to correct it")
    highest = 1 if mask.dtype == np.bool_ else int(np.iinfo(mask.dtype).max)
    if not 1 <= label <= highest:
        raise DataError(f"{label} is not the label of a structure in this mask; name one from 1 to {highest}")


def check_spacing(spacing: Sequence[float], axes: int) -> tuple[float, ...]:
    """The spacing in millimetres, one number for each axis.

    Raises:
        DataError: It has another number of axes, or holds what is not a positive number.
    """
    steps = tuple(float(step) for step in spacing)
    if len(steps) != axes or not all(math.isfinite(step) and step > 0 for step in steps):
        raise DataError(f"the spacing of a mask of {axes} axes is {axes} positive numbers of millimetres, not {steps}")
    return steps


def free_voxels(mask: Labels, locked: Collection[int], over: bool) -> NDArray[np.bool_]:
    """The voxels that a structure may take: the one rule of all corrections.

    Args:
        mask: The mask, or a part of it.
        locked: Labels of structures that lose and gain no voxel.
        over: Other structures may be taken too; else only background.
    """
    free: NDArray[np.bool_] = ~np.isin(mask, list(locked))
    return free if over else free & (mask == 0)


def box_of(mask: Labels, label: int) -> Box | None:
    """The smallest box that holds a structure; None where it is not there."""
    order = by_memory(mask)
    there = [np.zeros(mask.shape[axis], np.bool_) for axis in order]
    for start, part, _ in slabs(mask, mask):
        inside = part == label
        there[0][start : start + len(part)] = inside.reshape(len(part), -1).any(1)
        flat = np.asarray(inside.any(0))
        for axis, line in enumerate(there[1:]):
            line |= np.moveaxis(flat, axis, 0).reshape(len(line), -1).any(1)
    if not there[0].any():
        return None
    ends = {axis: np.flatnonzero(line) for axis, line in zip(order, there, strict=True)}
    return tuple(slice(int(ends[axis][0]), int(ends[axis][-1]) + 1) for axis in range(mask.ndim))


def grown(box: Box, margin: Sequence[int], shape: Sequence[int]) -> Box:
    """A larger box, cut off where the mask ends.

    Args:
        box: Where to start.
        margin: So many more voxels at both ends of each axis.
        shape: The mask's shape.
    """
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margin, shape, strict=True)
    )


def signed_distance(inside: NDArray[np.bool_], spacing: Sequence[float]) -> Distances:
    """Millimetres to the nearest voxel on the other side of a structure's surface, negative outside.

    The exact Euclidean distance of the edt package; infinite where there is no other side.

    Args:
        inside: The structure's voxels, of one to three axes.
        spacing: Millimetres between voxels along each axis.
    """
    import edt

    halves = np.ascontiguousarray(inside).view(np.uint8) + np.uint8(1)  # two labels: one transform for both sides
    anisotropy: Any = tuple(spacing) if inside.ndim > 1 else float(spacing[0])
    distances: Distances = edt.edt(halves, anisotropy=anisotropy, parallel=1 if inside.size < LARGE else 2)
    np.negative(distances, out=distances, where=~inside)
    return distances
