"""Class indices onto another grid in one pass: classes are weighed only where neighbours differ, and the same wins.

By definition each class is interpolated linearly by itself (torch's `interpolate` of its mask), and the strongest wins.
Where all neighbours of a voxel have one class, that class wins. Elsewhere the shares of the classes that are there are
worked out as torch does it, rounding included, so that ties fall as they would class by class. How torch rounds depends
on the processor: it is asked once, on a small mask; where it rounds in a way that is not known here, nothing is gained.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
Whole = NDArray[Any]

AT_A_TIME = 1 << 14
"""Voxels that are weighed together: what is between stays in the processor's cache."""


class Axis(NamedTuple):
    """The two neighbours of each target along one axis, and their weights (float32)."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    below: Floats
    above: Floats


def share(inside: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The linear interpolation of a mask (*spatial) at the voxels of another grid over the same extent."""
    from torch.nn import functional

    from ..support.torch_dims import LINEAR

    mask = inside.float()[None, None]
    return functional.interpolate(mask, tuple(shape), mode=LINEAR[len(shape)], align_corners=False)[0, 0]


def strongest(labels: Whole, shape: Sequence[int]) -> Whole | None:
    """The class with the largest share at each voxel of another grid; of equal ones the lowest.

    Args:
        labels: (*spatial), every value a class.

    Returns:
        (*shape), of the type of `labels`; None where torch rounds in a way that is not known here.
    """
    fused = _fused(len(shape))
    if fused is None:
        return None
    axes = [axis_of(old, new, fused) for old, new in zip(labels.shape, shape, strict=True)]
    low = high = labels
    for number, axis in enumerate(axes):
        low, high = _range(low, high, axis, number)
    result = np.ascontiguousarray(low)
    open_ = np.flatnonzero(low != high)
    for start in range(0, len(open_), AT_A_TIME):
        some = open_[start : start + AT_A_TIME]
        result.reshape(-1)[some] = _weighed(labels, axes, some, shape, fused)
    return result


def axis_of(source: int, target: int, fused: bool) -> Axis:
    """What torch's linear interpolation (`align_corners=False`) takes along one axis.

    Args:
        source, target: Voxels along it.
        fused: A product and a sum are rounded once together, as processors with such an instruction do.
    """
    index = np.arange(target)
    if source == target:
        return Axis(index, index, np.ones(target, np.float32), np.zeros(target, np.float32))
    scale, middle = np.float32(source) / np.float32(target), index.astype(np.float32) + np.float32(0.5)
    exact = middle.astype(np.float64) * np.float64(scale) if fused else middle * scale
    place = np.maximum((exact - type(exact[0])(0.5)).astype(np.float32), np.float32(0))
    low = np.minimum(place.astype(np.intp), source - 1)
    above = np.clip(place - low.astype(np.float32), 0, 1).astype(np.float32)
    return Axis(low, np.minimum(low + 1, source - 1), np.float32(1) - above, above)


def _range(low: Whole, high: Whole, axis: Axis, number: int) -> tuple[Whole, Whole]:
    """The least and the largest class among the neighbours of each target along one axis."""
    if low.shape[number] == len(axis.low) and not axis.above.any():
        return low, high
    first, second = low.take(axis.low, number), low.take(axis.high, number)
    if low is high:
        return np.minimum(first, second), np.maximum(first, second)
    most = np.maximum(high.take(axis.low, number), high.take(axis.high, number))
    return np.minimum(first, second, out=first), most


def _weighed(labels: Whole, axes: Sequence[Axis], some: Whole, shape: Sequence[int], fused: bool) -> Whole:
    """The winners at some targets, given by their flat index."""
    where = np.unravel_index(some, tuple(shape))
    flat, steps = labels.reshape(-1), [int(np.prod(labels.shape[axis + 1 :])) for axis in range(labels.ndim)]
    corners = np.zeros((1, len(some)), np.intp)
    for axis, index, step in zip(axes, where, steps, strict=True):  # the last axis changes fastest
        ends = np.stack([axis.low[index], axis.high[index]]) * step
        corners = (corners[:, None] + ends).reshape(-1, len(some))
    there = flat[corners]
    weights = [(axis.below[index], axis.above[index]) for axis, index in zip(axes, where, strict=True)]
    low, high = there.min(0), there.max(0)
    winner: Whole = np.where(
        _share_of(there == high, weights, fused) > _share_of(there == low, weights, fused), high, low
    )
    if (more := np.flatnonzero(((there != low) & (there != high)).any(0))).size:
        few = [(below[more], above[more]) for below, above in weights]
        winner[more] = _of_many(there[:, more], few, fused)
    return winner


def _of_many(there: Whole, weights: Sequence[tuple[Floats, Floats]], fused: bool) -> Whole:
    """The winners where more than two classes meet: (neighbour, voxel) to (voxel)."""
    winner: Whole = there[0].copy()
    best = np.full(len(winner), -1, np.float32)
    for candidate in there:
        found = _share_of(there == candidate, weights, fused)
        wins = (found > best) | ((found == best) & (candidate < winner))
        winner, best = np.where(wins, candidate, winner), np.maximum(best, found)
    return winner


def _share_of(inside: NDArray[np.bool_], weights: Sequence[tuple[Floats, Floats]], fused: bool) -> Floats:
    """The interpolated mask (neighbour, voxel), from the last axis to the first."""
    values: Floats = inside.astype(np.float32)
    for below, above in reversed(weights):
        values = _mixed(values[::2], values[1::2], below, above, fused)
    only: Floats = values[0]
    return only


def _mixed(first: Floats, second: Floats, below: Floats, above: Floats, fused: bool) -> Floats:
    part = second * above
    if not fused:
        return first * below + part
    return (first.astype(np.float64) * below + part).astype(np.float32)


@cache
def _fused(axes: int) -> bool | None:
    """Whether torch's interpolation rounds a product and a sum together here; None where it does something else."""
    import torch

    source, target = (11, 12, 13)[:axes], (17, 7, 9)[:axes]
    mask = np.random.default_rng(0).random(source) < 0.5
    wanted = share(torch.from_numpy(mask), target).numpy()
    for fused in (True, False):
        found = mask.astype(np.float32)
        for number in reversed(range(axes)):
            axis = axis_of(source[number], target[number], fused)
            ways = [-1 if other == number else 1 for other in range(axes)]
            below, above = axis.below.reshape(ways), axis.above.reshape(ways)
            found = _mixed(found.take(axis.low, number), found.take(axis.high, number), below, above, fused)
        if np.array_equal(found, wanted):
            return fused
    return None
