"""Resampling between grids that cover the same extent; outer voxel faces stay where they are.

A scan goes through in slabs, in the order in which it lies in memory: beside the scan and the result only a few planes
are there at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .along import BLOCK, Along, Floats, Interpolation, along, columns_of, linear, planes_of, rows_of, sources_of

if TYPE_CHECKING:
    from .volume import Array

SMALL = 1 << 28
"""Bytes that are there without a look."""

SLAB = BLOCK // 2
"""Planes of the result that are made together; a part of a `Block`."""

NEAR = 1e-6
"""Shares of classes that differ by less are equal."""

Change = Callable[[Any], NDArray[np.float32]]


def resample_image(
    array: Array, shape: Sequence[int], interpolation: Interpolation = "linear", change: Change | None = None
) -> NDArray[np.float32]:
    """(channel, *spatial) with another number of voxels; where an axis loses more than half of them, by their means.

    Args:
        array: Numbers of any type, in any order in memory.
        shape: Voxels of the result along each axis in space.
        interpolation: `linear`, or `cubic`: see `voxgraft.imaging.along`.
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
        result: Is written.
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
    """Refuse arrays of float32 that do not fit, before they are made.

    Raises:
        DataError: They do not.
    """
    from ..support.memory import free_memory, gigabytes

    size = 4 * arrays * math.prod(int(n) for n in shape)
    if size > SMALL and size > (free := free_memory()):
        raise DataError(
            f"at the spacing of the network it has {'x'.join(map(str, shape))} voxels, which take {gigabytes(size)} of "
            f"memory, and {gigabytes(free)} are free; ask for a larger data.spacing"
        )


def resample_labels(array: Array, shape: Sequence[int]) -> NDArray[Any]:
    """Class indices (*spatial) on another grid: each class is interpolated linearly and the strongest wins.

    Ties go to the lower class. Only where neighbours differ is anything interpolated, whatever the number of classes.

    Args:
        array: uint8 or int16; the result is of the same type.
        shape: Voxels of the result along each axis.

    Raises:
        DataError: The result is larger than the memory that is free.
    """
    _check_memory(shape, 1)
    if array.shape == tuple(shape):
        return np.ascontiguousarray(array)
    axes = [linear(old, new) for old, new in zip(array.shape, shape, strict=True)]
    result = np.empty(shape, array.dtype)
    for rows in _rows(shape):
        result[rows] = _strongest(array, [tuple(part[rows] for part in axes[0]), *axes[1:]])
    return result


def _rows(shape: Sequence[int], most: int = 1 << 20) -> Iterator[slice]:
    """Parts of the first axis, of so many voxels each."""
    step = max(1, most // max(1, math.prod(shape[1:])))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _strongest(array: Array, axes: Sequence[Any]) -> Array:
    """The strongest class at each position.

    Args:
        array: Class indices (*spatial).
        axes: Of each axis the lower and the upper neighbours of the positions, and the shares of the upper ones.
    """
    corners = [
        array[np.ix_(*(axis[bit] for axis, bit in zip(axes, bits, strict=True)))]
        for bits in product((0, 1), repeat=len(axes))
    ]
    result = corners[0].copy()
    mixed = np.logical_or.reduce([corner != result for corner in corners[1:]])
    where = np.nonzero(mixed)
    classes = np.stack([corner[where] for corner in corners])
    shares = [axis[2][place] for axis, place in zip(axes, where, strict=True)]
    weights = np.ones(classes.shape, np.float32)
    for row, bits in zip(weights, product((0, 1), repeat=len(axes)), strict=True):
        for share, bit in zip(shares, bits, strict=True):
            row *= share if bit else 1 - share
    strength = np.stack([np.where(classes == one, weights, 0).sum(0) for one in classes])
    winning = strength >= strength.max(0, initial=0) - NEAR
    result[where] = np.where(winning, classes, np.iinfo(classes.dtype).max).min(0)
    return result


def resample_shares(inside: Array, shape: Sequence[int]) -> NDArray[np.bool_]:
    """A bool mask (*spatial) on another grid: it is where its linear interpolation is more than a half."""
    return np.asarray(resample_labels(np.asarray(inside, dtype=np.uint8), shape) == 1)
