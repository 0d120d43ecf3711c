"""Resampling between grids that cover the same extent; outer voxel faces stay where they are.

Along each axis a position is made of two neighbours, or a few more. A scan goes through in slabs, in the order in which
it lies in memory: beside the scan and the result only a few planes are there at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

if TYPE_CHECKING:
    from .volume import Array


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
        places = _places(source, target)
        low = np.floor(places).astype(np.intp)
        return Neighbours(low, np.minimum(low + 1, source - 1), (places - low).astype(np.float32))
    return _blocks(_cubic(source, target))


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


SMALL = 1 << 28
"""Bytes that are there without a look."""

SLAB = BLOCK // 2
"""Planes of the result that are made together; a part of a `Block`."""

Change = Callable[[Any], NDArray[np.float32]]


def resample_image(
    array: Array, shape: Sequence[int], interpolation: Interpolation = "linear", change: Change | None = None
) -> NDArray[np.float32]:
    """(channel, *spatial) with another number of voxels; where an axis loses more than half of them, by their means.

    Args:
        array: Numbers of any type, in any order in memory.
        shape: Voxels of the result along each axis in space.
        interpolation: `linear`, or `cubic`: see `voxgraft.imaging.resample`.
        change: Makes a number of each voxel, whatever its neighbours; applied to a plane (channel, row, column) after
            the other, before they are interpolated.

    Raises:
        DataError: The result is larger than the memory that is free.
    """
    _check_memory(shape, len(array))
    old = array.shape[1:]
    if old == tuple(shape):
        return np.ascontiguousarray(array if change is None else change(array), dtype=np.float32)
    order = sorted(range(len(old)), key=lambda axis: -abs(array.strides[1 + axis]))
    order = [*([len(old)] if len(old) == 2 else []), *order]  # an image of two axes is one plane
    source = array.reshape(*array.shape, 1) if len(old) == 2 else array
    result = np.empty((len(array), *shape, *([1] if len(old) == 2 else [])), np.float32)
    turned = (0, *(1 + axis for axis in order))
    hows = [along(*sizes, interpolation) for sizes in zip(source.shape[1:], result.shape[1:], strict=True)]
    _fill(source.transpose(turned), result.transpose(turned), [hows[axis] for axis in order], change)
    return result.reshape(len(array), *shape)


def _fill(source: Array, result: Floats, hows: Sequence[Along], change: Change | None) -> None:
    """Resample (channel, plane, row, column) into the result.

    Args:
        source: Its planes lie one after another in memory, in that order.
        hows: How planes, rows and columns are resampled.
        change: See `resample_image`.
    """
    planes: dict[int, Floats] = {}
    for start in range(0, result.shape[1], SLAB):
        rows = slice(start, min(start + SLAB, result.shape[1]))
        used = sources_of(hows[0], rows)
        planes = {index: plane for index, plane in planes.items() if index >= used.start}
        for index in range(used.start, used.stop):
            if index not in planes:
                planes[index] = _plane(source[:, index], hows, change)
        for channel in range(len(result)):
            stack = np.stack([planes[index][channel] for index in range(used.start, used.stop)])
            result[channel, rows] = planes_of(stack, hows[0], rows)


def _plane(plane: Array, hows: Sequence[Along], change: Change | None) -> Floats:
    """One plane of all channels (channel, row, column), its rows and columns resampled."""
    plane = plane if change is None else change(plane)
    return np.stack([columns_of(rows_of(channel, hows[1]), hows[2]) for channel in plane])


def _check_memory(shape: Sequence[int], arrays: int) -> None:
    """Refuse arrays of float32 that do not fit, before they are made."""
    from ..support.machine import free_memory, gigabytes

    size = 4 * arrays * math.prod(int(n) for n in shape)
    if size > SMALL and size > (free := free_memory()):
        raise DataError(
            f"at the spacing of the network it has {'x'.join(map(str, shape))} voxels, which take {gigabytes(size)} of "
            f"memory, and {gigabytes(free)} are free; ask for a larger data.spacing"
        )


def resample_labels(array: Array, shape: Sequence[int], classes: int, left_out: int | None = None) -> NDArray[Any]:
    """Class indices (*spatial) on another grid: each class is interpolated linearly and the strongest wins.

    Ties go to the lower class. All classes are done in one pass (see `voxgraft.imaging.label_grid`).

    Args:
        array: uint8 or int16; the result is of the same type.
        classes: How many there are; any other value stands for no class.
        left_out: One more index beside those of the classes, larger than they.

    Raises:
        DataError: The work is larger than the memory that is free.
    """
    _check_memory(shape, 2)
    if array.shape == tuple(shape):
        return np.ascontiguousarray(array)
    from .label_grid import strongest

    labels = np.ascontiguousarray(array)
    wanted = [*range(classes), *([] if left_out is None else [left_out])]
    plain = labels.size > 0 and labels.min() >= 0 and labels.max() < classes  # which is seen sooner
    known = plain or bool(np.isin(labels, wanted).all())
    done = strongest(labels, shape) if known else None
    return class_by_class(labels, shape, wanted) if done is None else done


def class_by_class(labels: NDArray[Any], shape: Sequence[int], classes: Sequence[int]) -> NDArray[Any]:
    """The definition: classes are done one after another, in rising order; another value stands for none.

    Args:
        classes: The values that count.
    """
    import torch

    from .label_grid import share

    values = torch.from_numpy(labels)
    best = torch.full(tuple(shape), -1.0)
    result = torch.zeros(tuple(shape), dtype=values.dtype)
    for value in classes:
        found = share(values == value, shape)
        result[found > best] = value
        best = torch.maximum(best, found)
    done: NDArray[Any] = result.numpy()
    return done


def resample_shares(inside: Array, shape: Sequence[int]) -> NDArray[np.bool_]:
    """A bool mask (*spatial) on another grid: it is where its linear interpolation is more than a half."""
    if inside.shape == tuple(shape):
        return np.asarray(inside, dtype=np.bool_)
    import torch

    from .label_grid import share

    done: NDArray[np.bool_] = (share(torch.from_numpy(np.ascontiguousarray(inside)), shape) > 0.5).numpy()
    return done
