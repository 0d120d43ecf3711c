"""Resampling along one axis between grids over the same extent: two neighbours for each position, or a few more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Interpolation = Literal["linear", "cubic"]

BLOCK = 32
"""Positions that one matrix makes: a longer one is mostly zeros, since what is far away does not count."""
NOTHING = 1e-7
"""Weights below it are left out: of a cubic spline those of voxels more than about 12 away."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Linear interpolation: each position lies between two of the source.

    Attributes:
        low, high: Of each position the neighbours in the source.
        share: How far it is on the way from the first to the second, from 0 to 1.
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some positions as weighted sums of a part of the source.

    Attributes:
        rows: The positions.
        used: The part of the source.
        weights: (position, source).
    """

    rows: slice
    used: slice
    weights: Floats


Along = Neighbours | tuple[Block, ...] | None
"""How an axis is resampled; None leaves it as it is."""


@lru_cache(maxsize=64)
def along(source: int, target: int, interpolation: Interpolation = "linear") -> Along:
    """How an axis of so many voxels is brought to another number, its outer faces where they were.

    Where more than half of the voxels are lost, parts are averaged, so that thin structures do not vanish between.

    Args:
        source, target: Voxels along the axis.
        interpolation: `cubic` is the B-spline of order 3 through all voxels (Unser, IEEE Signal Processing Magazine
            1999), mirrored at the first and the last one.
    """
    if source == target:
        return None
    if source > 2 * target:
        return _blocks(_means(source, target))
    if interpolation == "linear" or source < 2:
        return Neighbours(*linear(source, target))
    return _blocks(_cubic(source, target))


def linear(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The lower neighbour of each position, the upper one, and the share of the upper one."""
    places = _places(source, target)
    low = np.floor(places).astype(np.intp)
    return low, np.minimum(low + 1, source - 1), (places - low).astype(np.float32)


def _places(source: int, target: int) -> NDArray[np.float64]:
    """Where the target's voxels are, counted in voxels of the source; beyond its outer centres nothing changes."""
    return np.asarray(np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1))


def _means(source: int, target: int) -> NDArray[Any]:
    """(target, source): each position is the mean of all voxels that its own touches."""
    first = np.arange(target) * source // target
    last = -(-(np.arange(target) + 1) * source // target)
    voxels = np.arange(source)
    inside = (voxels >= first[:, None]) & (voxels < last[:, None])
    return np.asarray(inside / inside.sum(1, keepdims=True))


def _cubic(source: int, target: int) -> NDArray[Any]:
    """(target, source): the weights of voxels in a cubic B-spline through all of them."""
    from scipy.ndimage import spline_filter1d

    places, weights = _places(source, target), np.zeros((target, source))
    first = np.floor(places).astype(np.intp) - 1
    for number in range(4):
        knots = first + number
        distance = np.abs(places - knots)
        near = 2 / 3 - distance**2 + distance**3 / 2
        bell = np.where(distance < 1, near, np.clip(2 - distance, 0, None) ** 3 / 6)
        mirrored = np.abs(knots)
        mirrored = np.where(mirrored >= source, 2 * source - 2 - mirrored, mirrored)
        np.add.at(weights, (np.arange(target), np.clip(mirrored, 0, source - 1)), bell)
    return np.asarray(weights @ spline_filter1d(np.eye(source), 3, axis=0, mode="mirror"))


def _blocks(weights: NDArray[Any]) -> tuple[Block, ...]:
    blocks = []
    for start in range(0, len(weights), BLOCK):
        part = weights[start : start + BLOCK]
        used = np.flatnonzero((np.abs(part) > NOTHING).any(0))
        reach = slice(int(used[0]), int(used[-1]) + 1)
        small = np.ascontiguousarray(part[:, reach], dtype=np.float32)
        blocks.append(Block(slice(start, start + len(part)), reach, small))
    return tuple(blocks)


def rows_of(plane: NDArray[Any], how: Along) -> NDArray[Any]:
    """The first axis of a plane (row, column) of numbers, resampled."""
    if how is None:
        return plane
    if isinstance(how, Neighbours):
        low, high = plane[how.low].astype(np.float32), plane[how.high].astype(np.float32)
        high -= low
        high *= how.share[:, None]
        low += high
        return low
    plane = plane.astype(np.float32, copy=False)
    return np.concatenate([block.weights @ plane[block.used] for block in how])


def columns_of(plane: NDArray[Any], how: Along) -> Floats:
    """The second axis of a plane (row, column), resampled; float32."""
    plane = plane.astype(np.float32, copy=False)
    if how is None:
        return plane
    if isinstance(how, Neighbours):
        low, high = plane.take(how.low, 1), plane.take(how.high, 1)
        high -= low
        high *= how.share
        low += high
        return low
    return np.concatenate([plane[:, block.used] @ block.weights.T for block in how], 1)


def sources_of(how: Along, rows: slice) -> slice:
    """The part of the source that some positions are made of."""
    if how is None:
        return rows
    if isinstance(how, Neighbours):
        return slice(int(how.low[rows.start]), int(how.high[rows.stop - 1]) + 1)
    blocks = [block for block in how if block.rows.start < rows.stop and block.rows.stop > rows.start]
    return slice(min(block.used.start for block in blocks), max(block.used.stop for block in blocks))


def planes_of(planes: Floats, how: Along, rows: slice) -> Floats:
    """Some positions of the first axis, as planes (position, row, column).

    Args:
        planes: The part of the source that `sources_of` names.
        how: How the axis is resampled.
        rows: The positions; they lie in one block.
    """
    if how is None:
        return planes
    if isinstance(how, Neighbours):
        begin = how.low[rows.start]
        result: Floats = planes[how.high[rows] - begin]
        low = planes[how.low[rows] - begin]
        result -= low
        result *= how.share[rows, None, None]
        result += low
        return result
    (block,) = [block for block in how if block.rows.start <= rows.start < block.rows.stop]
    weights = block.weights[rows.start - block.rows.start : rows.stop - block.rows.start]
    part = planes[block.used.start - sources_of(how, rows).start :][: weights.shape[1]]
    sums: Floats = np.matmul(weights, part.reshape(len(part), -1))
    return sums.reshape(-1, *planes.shape[1:])
