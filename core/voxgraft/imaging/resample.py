"""Resampling between grids that cover the same extent; outer voxel faces stay where they are.

A scan goes through in slabs, in the order in which it lies in memory: beside the scan and the result only a few planes
are there at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .along import BLOCK, Along, Floats, Interpolation, along, columns_of, planes_of, rows_of, sources_of

if TYPE_CHECKING:
    from .volume import Array

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
        labels: Values (i, j[, k]).
        shape: Of the result.
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
