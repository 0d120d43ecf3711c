"""A few redrawn slices become the volume: what was corrected in them is carried on to the slices between and beside."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.structures import Box, union
from .change import Change, Labels, box_of_difference, by_memory, check_alike
from .geometry import Distances, box_of, check_label, check_spacing, free_voxels, grown, signed_distance

LEAST = 0.02
"""Of a correction: where less of it would arrive, nothing changes."""


def propagate(
    before: Labels,
    redrawn: Labels,
    label: int,
    axis: int,
    spacing: Sequence[float],
    reach_mm: float,
    locked: Collection[int] = (),
    slices: Collection[int] | None = None,
    over: bool = False,
) -> Change:
    """Carry the correction of a few slices on to the whole structure.

    Not the mask is interpolated but its correction, the signed distance of what was drawn minus that of the mask, so
    that a slice which was right keeps what the mask knew of it. A redrawn slice stays as it was drawn, voxel by voxel,
    and counts with a correction of nothing where it was not changed. Between two redrawn slices the correction
    is the best linear estimate under a correlation that falls by e with every `reach_mm` (simple kriging with an
    exponential covariance): almost linear where they are near, and fading to nothing where they are far apart or
    where there is none on the other side.

    Args:
        before: The mask (i, j[, k]) before any slice was redrawn.
        redrawn: The same mask with the redrawn slices.
        label: The structure that is corrected.
        axis: The axis across the redrawn slices.
        spacing: Millimetres between voxels along each axis.
        reach_mm: How far a correction reaches: at this distance from the outermost slice 37% of it are left.
        locked: Labels of structures that lose and gain no voxel.
        slices: The redrawn slices as indices along `axis`; by default those in which the structure differs.
        over: The structure may grow into others; else only into background.

    Returns:
        The change that starts from `redrawn`; of no voxel where nothing follows.

    Raises:
        DataError: An argument is out of range, the structure is locked, or the masks differ in shape.
    """
    check_alike(before, redrawn)
    check_label(redrawn, label, locked)
    steps = check_spacing(spacing, redrawn.ndim)
    if redrawn.ndim not in (2, 3) or axis not in range(redrawn.ndim):
        raise DataError(f"a mask of {redrawn.ndim} axes has no slices across axis {axis}")
    if not (math.isfinite(reach_mm) and reach_mm > 0):
        raise DataError(f"the reach is a positive number of millimetres, not {reach_mm}")
    size = redrawn.shape[axis]
    drawn = _redrawn(before, redrawn, label, axis) if slices is None else sorted({int(index) for index in slices})
    if any(not 0 <= index < size for index in drawn):
        raise DataError(f"there is no slice {drawn[0] if drawn[0] < 0 else drawn[-1]}; the mask has {size}")
    box = _working_box(before, redrawn, label, axis, steps, reach_mm, drawn)
    if box is None:
        return Change.nothing(redrawn)
    return _within(before, redrawn, label, axis, steps, reach_mm, locked, over, drawn, box)


def _redrawn(before: Labels, redrawn: Labels, label: int, axis: int) -> list[int]:
    box = box_of_difference(before, redrawn)
    if box is None:
        return []
    differs = (before[box] == label) != (redrawn[box] == label)
    lines = np.moveaxis(differs, axis, 0).reshape(differs.shape[axis], -1).any(1)
    return [box[axis].start + int(index) for index in np.flatnonzero(lines)]


def _working_box(
    before: Labels, redrawn: Labels, label: int, axis: int, steps: Sequence[float], reach_mm: float, drawn: list[int]
) -> Box | None:
    """Where the structure is, was, or can come to: around what was drawn, as far as the reach goes."""
    there = union(box_of(redrawn, label), _box_in(before, label, axis, drawn)) if drawn else None
    if there is None:
        return None
    far = math.ceil(min(-math.log(LEAST) * reach_mm / steps[axis], redrawn.shape[axis]))
    wide = grown(there, [1] * redrawn.ndim, redrawn.shape)
    along = slice(max(0, drawn[0] - far), min(redrawn.shape[axis], drawn[-1] + far + 1))
    return (*wide[:axis], along, *wide[axis + 1 :])


def _box_in(mask: Labels, label: int, axis: int, drawn: list[int]) -> Box | None:
    """The box of a structure in some slices only."""
    lead = (slice(None),) * axis
    boxes = []
    for index in drawn:
        found = box_of(mask[(*lead, slice(index, index + 1))], label)
        if found is not None:
            boxes.append((*found[:axis], slice(index, index + 1), *found[axis + 1 :]))
    return union(*boxes)


def _within(
    before: Labels,
    redrawn: Labels,
    label: int,
    axis: int,
    steps: tuple[float, ...],
    reach_mm: float,
    locked: Collection[int],
    over: bool,
    drawn: list[int],
    box: Box,
) -> Change:
    """The change, looked for in a box only.

    Slices lie along the first axis of what is computed here, and the other axes as they lie in memory.
    """
    order = [axis, *(other for other in by_memory(redrawn) if other != axis)]
    now, ordered = redrawn[box].transpose(order), [steps[other] for other in order]
    here = [index - box[axis].start for index in drawn]
    had = before[box].transpose(order)[here] == label
    corrections = [_correction(*pair, ordered[1:]) for pair in zip(had, now[here] == label, strict=True)]
    part = _touched(corrections, ordered[1:])
    if part is None:
        return Change.nothing(redrawn)
    now = now[:, *part]
    new = np.ascontiguousarray(now == label)
    wanted = new.copy()
    new[here] = had[:, *part]
    _carry(new, [correction.within(part) for correction in corrections], here, ordered, reach_mm)
    new[here] = wanted[here]
    after = now.copy()
    after[new & ~wanted & free_voxels(now, locked, over)] = label
    if 0 not in locked:
        after[wanted & ~new] = 0
    change = Change.between(now, after)
    if change is None:
        return Change.nothing(redrawn)
    return _in_mask(change, (slice(0, len(now)), *part), order, box)


def _in_mask(change: Change, part: Box, order: list[int], box: Box) -> Change:
    """A change of a part of a box, whose axes were in some order, as one of the whole mask."""
    back = [order.index(axis) for axis in range(len(order))]
    starts = [change.box[axis].start + part[axis].start + outer.start for axis, outer in zip(back, box, strict=True)]
    before, after = change.before.transpose(back), change.after.transpose(back)
    whole = tuple(slice(start, start + size) for start, size in zip(starts, before.shape, strict=True))
    return Change(whole, before, after)


@dataclass(frozen=True, slots=True)
class _Correction:
    """What was corrected in one slice.

    Attributes:
        was: Millimetres to the surface within the slice before, negative outside.
        moved: By how many millimetres the surface moves, at each place of the slice.
        new: The slice had nothing of the structure.
    """

    was: Distances
    moved: Distances
    new: bool

    def within(self, part: Box) -> _Correction:
        """The same of a part of the slice."""
        return _Correction(self.was[part], self.moved[part], self.new)


def _correction(had: NDArray[np.bool_], wanted: NDArray[np.bool_], steps: Sequence[float]) -> _Correction:
    was, now = signed_distance(had, steps), signed_distance(wanted, steps)
    depth = max(min(steps), *(float(part[np.isfinite(part)].max(initial=0.0)) for part in (was, now)))
    # without the structure a slice has no surface: it is taken to be as far away as it is deep on the other side
    was, now = (np.nan_to_num(part, posinf=depth, neginf=-depth) for part in (was, now))
    return _Correction(was, now - was, not had.any())


def _touched(corrections: list[_Correction], steps: Sequence[float]) -> Box | None:
    """The part of a slice that corrections can change, with what must be known of the mask around it."""
    moved = np.max([np.abs(correction.moved) for correction in corrections], axis=0)
    places = np.nonzero(moved)
    if not len(places[0]):
        return None
    box = tuple(slice(int(place.min()), int(place.max()) + 1) for place in places)
    return grown(box, [math.ceil(float(moved.max()) / step) + 1 for step in steps], moved.shape)


def _carry(
    mask: NDArray[np.bool_],
    corrections: list[_Correction],
    here: list[int],
    steps: Sequence[float],
    reach_mm: float,
) -> None:
    """Give every slice of a mask, in place, its share of the corrections."""
    limit = max(float(np.abs(correction.was).max()) for correction in corrections)
    distance = signed_distance(mask, steps)
    np.clip(distance, -limit, limit, out=distance)
    moves = [
        _in_space(correction, distance[index], min(steps)) for correction, index in zip(corrections, here, strict=True)
    ]
    places = np.arange(len(mask), dtype=np.float64) * steps[0]
    weights = _weights(places, places[here], reach_mm)
    for index in np.flatnonzero(weights.max(1) >= LEAST):
        level = distance[index]
        for used in np.flatnonzero(weights[index]):
            level += weights[index, used] * moves[used]
        mask[index] = level > 0


def _in_space(correction: _Correction, distance: Distances, step: float) -> Distances:
    """The move of a slice's surface as one of the surface in space.

    Distances within a slice are longer than those in space wherever the surface lies aslant or its end is near. The
    move is shortened as these are. Where the slice had no surface there is nothing to be compared.
    """
    if correction.new:
        drawn: Distances = correction.was + correction.moved
        return drawn - distance
    shorter = np.minimum(1, np.abs(distance) / np.maximum(np.abs(correction.was), step))
    moved: Distances = correction.moved * shorter
    return moved


def _weights(places: NDArray[Any], drawn: NDArray[Any], reach_mm: float) -> NDArray[np.float32]:
    """The share of each redrawn slice in each slice, of shape (slices, redrawn slices).

    With a covariance that falls exponentially only the nearest redrawn slice on each side counts.
    """
    weights = np.zeros((len(places), len(drawn)), np.float32)
    behind = np.searchsorted(drawn, places)
    for index, (place, right) in enumerate(zip(places, behind, strict=True)):
        if right in (0, len(drawn)):
            near = min(right, len(drawn) - 1)
            weights[index, near] = math.exp(-abs(place - drawn[near]) / reach_mm)
        else:
            gap, along = (drawn[right] - drawn[right - 1]) / reach_mm, (place - drawn[right - 1]) / reach_mm
            weights[index, right - 1 : right + 1] = _between(gap - along, gap), _between(along, gap)
    return weights


def _between(near: float, gap: float) -> float:
    """sinh(near) / sinh(gap) for 0 <= near <= gap, also where both are too large for sinh."""
    return math.exp(near - gap) * (-math.expm1(-2 * near)) / (-math.expm1(-2 * gap))
