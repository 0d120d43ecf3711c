"""Clicks: what a person points at becomes a small change of one structure, decided by the image and the mask around.

A click says that the surface of the structure lies on the other side of it. How far the surface may move follows from
how far the click is from it; where exactly it comes to lie, a random walker decides.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.structures import Box, union
from .change import Change, Labels
from .geometry import check_label, check_spacing, free_voxels, grown, signed_distance
from .walker import walk

FURTHEST = 40
"""Voxels from a click, along each axis, beyond which nothing changes whatever the radius."""
ALONE = 0.25
"""Of the radius: a click further than this from the surface makes a piece, or a hole, of its own."""
PIECE = 0.2
"""Of the radius: how large that is."""
PUSH = 2.0
"""So many times as far as the click is from the surface, the surface is expected to move beneath it."""
WIDTH = 3.0
"""So many times as far as the click is from the surface, the change may be wide."""
SURE = 0.4
"""Of the distance to the surface: so far around a click its word is taken."""
SOFT = 2.0
"""Voxels over which the expectation goes from certainly outside to certainly inside."""


@dataclass(frozen=True, slots=True)
class Click:
    """A voxel that a person points at.

    Attributes:
        index: The voxel (i, j[, k]).
        add: It belongs to the structure; else it does not.

    Raises:
        DataError: The index is not of whole numbers.
    """

    index: tuple[int, ...]
    add: bool = True

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "index", tuple(operator.index(place) for place in self.index))
        except TypeError as error:
            raise DataError(f"a click names its voxel by whole numbers, not {self.index}") from error


def click(
    image: NDArray[Any] | None,
    mask: Labels,
    label: int,
    points: Sequence[Click],
    spacing: Sequence[float],
    locked: Collection[int] = (),
    radius_mm: float = 25.0,
    over: bool = False,
) -> Change:
    """Add to a structure, or remove from it, what clicks point at.

    A click whose voxel is already as it says changes nothing, but holds back the other clicks. What one click changes
    is connected, holds the clicked voxel, and lies within `radius_mm` of it; in plain background, far from the
    structure, it is a piece of at most a fifth of the radius. What is removed becomes background.

    The random walker is Grady's with priors (CVPR 2005): seeds are the surroundings of the clicks and what lies out of
    reach, the prior is the mask's signed distance raised around the click, and steps across edges of the image cost.

    Args:
        image: Intensities (i, j[, k]) of the mask's shape; NaN counts as the median around. None goes by distance.
        mask: The mask (i, j[, k]).
        label: The structure.
        points: One click or several, in the order in which they were made.
        spacing: Millimetres between voxels along each axis.
        locked: Labels of structures that lose and gain no voxel.
        radius_mm: How far from a click anything may change, at most `FURTHEST` voxels.
        over: The structure may grow into others; else only into background.

    Raises:
        DataError: An argument is out of range, a click lies outside of the mask or adds to what the
            structure may not take, or two clicks contradict each other.
    """
    steps = _check(image, mask, label, points, spacing, locked, radius_mm, over)
    reach = [max(1, min(FURTHEST, math.floor(radius_mm / step))) for step in steps]
    wanting = [point for point in points if (mask[point.index] == label) != point.add]
    windows = [grown(_voxel(point.index), reach, mask.shape) for point in wanting]
    whole = union(*windows)
    if whole is None:
        return Change.nothing(mask)
    work = mask[whole].copy()
    for point, window in zip(wanting, windows, strict=True):
        local = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(window, whole, strict=True))
        picture = None if image is None else image[window]
        near = [other for other in (_moved(other, window) for other in points) if other is not None]
        here = Click(tuple(index - part.start for index, part in zip(point.index, window, strict=True)), point.add)
        _one(picture, work[local], label, here, near, steps, locked, radius_mm, over)
    return Change.of_box(mask, whole, work)


def _check(
    image: NDArray[Any] | None,
    mask: Labels,
    label: int,
    points: Sequence[Click],
    spacing: Sequence[float],
    locked: Collection[int],
    radius_mm: float,
    over: bool,
) -> tuple[float, ...]:
    check_label(mask, label, locked)
    if mask.ndim not in (2, 3) or (image is not None and image.shape != mask.shape):
        raise DataError("clicks need a mask of two or three axes, and an image of the same shape")
    if not (math.isfinite(radius_mm) and radius_mm > 0):
        raise DataError(f"the radius of a click is a positive number of millimetres, not {radius_mm}")
    said: dict[tuple[int, ...], bool] = {}
    for point in points:
        fits = len(point.index) == mask.ndim and all(
            0 <= index < size for index, size in zip(point.index, mask.shape, strict=True)
        )
        if not fits:
            raise DataError(f"the click at {tuple(point.index)} lies outside of the mask of {mask.shape} voxels")
        if said.setdefault(tuple(point.index), point.add) != point.add:
            raise DataError(f"two clicks at {tuple(point.index)} contradict each other")
        if not point.add and 0 in locked:
            raise DataError("nothing can be removed while the background, 0, is locked; unlock it")
        value = int(mask[point.index])
        if value in locked and (point.add or value == label):
            raise DataError(f"the click at {tuple(point.index)} lies in structure {value}, which is locked")
        if point.add and not over and value not in (0, label):
            raise DataError(f"the click at {tuple(point.index)} lies in structure {value}; allow changes over others")
    return check_spacing(spacing, mask.ndim)


def _voxel(index: tuple[int, ...]) -> Box:
    return tuple(slice(place, place + 1) for place in index)


def _moved(point: Click, window: Box) -> Click | None:
    """A click as one in a window; None where it lies outside."""
    index = tuple(place - part.start for place, part in zip(point.index, window, strict=True))
    within = all(0 <= place < part.stop - part.start for place, part in zip(index, window, strict=True))
    return Click(index, point.add) if within else None


def _one(
    image: NDArray[Any] | None,
    work: Labels,
    label: int,
    point: Click,
    points: Sequence[Click],
    steps: tuple[float, ...],
    locked: Collection[int],
    radius_mm: float,
    over: bool,
) -> None:
    """Do what one click says, in place, in the window around it.

    Args:
        points: All clicks in the window, this one among them.
    """
    inside = work == label
    if bool(inside[point.index]) == point.add:
        return  # an earlier click has done it
    away = np.abs(signed_distance(inside, steps))
    depth, step = float(away[point.index]), float(np.exp(np.mean(np.log(steps))))
    alone = not depth <= ALONE * radius_mm
    reach = PIECE * radius_mm if alone else min(radius_mm, WIDTH * depth + 2 * step, depth + ALONE * radius_mm)
    box = grown(
        _voxel(point.index),
        [min(FURTHEST, math.floor(reach / one) + 2) for one in steps],
        work.shape,
    )
    here = tuple(index - part.start for index, part in zip(point.index, box, strict=True))
    grids = np.ogrid[tuple(slice(0, part.stop - part.start) for part in box)]
    squares: Any = sum(((grid - index) * one) ** 2 for grid, index, one in zip(grids, here, steps, strict=True))
    distance = np.sqrt(squares, dtype=np.float32)
    if alone:
        expected, sure = reach - distance, distance <= SURE * reach
    else:
        same = inside[box] == point.add
        expected = np.float32(PUSH * depth) * np.exp(-2 * (distance / np.float32(reach)) ** 2)
        expected += np.where(same, away[box], -away[box])
        sure = distance <= SURE * depth
    free = (distance <= reach) & (free_voxels(work[box], locked, over) & ~inside[box] if point.add else inside[box])
    wanted = np.where(
        free, np.clip(expected / np.float32(SOFT * step), -1, 1), np.where(inside[box] == point.add, 1, -1)
    )
    wanted = np.where(free & sure, 1, wanted).astype(np.float32)
    for other in points:
        _hold(other, point, wanted, free, box)
    ground = free & ~sure
    result = walk(None if image is None else image[box], wanted, ground, steps) > 0
    work[box][_connected(result & free, here)] = label if point.add else 0


def _hold(other: Click, point: Click, wanted: NDArray[np.float32], free: NDArray[np.bool_], box: Box) -> None:
    """Keep the voxel of another click as that click says."""
    moved = _moved(other, box)
    if moved is not None and other.add != point.add:
        wanted[moved.index] = -1
        free[moved.index] = False


def _connected(changed: NDArray[np.bool_], here: tuple[int, ...]) -> NDArray[np.bool_]:
    """Of the voxels that would change, those that are connected with the click by faces; the click among them."""
    import cc3d

    changed[here] = True
    parts: NDArray[Any] = cc3d.connected_components(
        np.ascontiguousarray(changed), connectivity=6 if changed.ndim == 3 else 4
    )
    connected: NDArray[np.bool_] = parts == parts[here]
    return connected
