"""Resampling between grids that cover the same extent; outer voxel faces stay where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

if TYPE_CHECKING:
    import torch

    from .volume import Array

SMALL = 1 << 28
"""Bytes that are there without a look."""


def resample_image(array: Array, shape: Sequence[int]) -> NDArray[np.float32]:
    """Linear interpolation of (channel, *spatial) to another number of voxels; going coarser, it is smoothed first.

    Smoothing is by area where an axis loses more than half of its voxels, so that thin structures do not vanish
    between samples.

    Raises:
        DataError: The result is larger than the memory that is free.
    """
    _check_memory(shape, len(array))
    if array.shape[1:] == tuple(shape):
        return np.ascontiguousarray(array, dtype=np.float32)
    import torch
    from torch.nn import functional

    from ..support.torch_dims import LINEAR

    image = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    reduced = tuple(new if old > 2 * new else old for old, new in zip(image.shape[1:], shape, strict=True))
    if reduced != tuple(image.shape[1:]):
        image = functional.interpolate(image[None], reduced, mode="area")[0]
    done = functional.interpolate(image[None], tuple(shape), mode=LINEAR[len(shape)], align_corners=False)[0]
    result: NDArray[np.float32] = done.numpy()
    return result


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

    Ties go to the lower class. Classes are done one after another, so memory does not grow with their number.

    Args:
        array: uint8 or int16; the result is of the same type.
        left_out: One more index beside those of the classes.

    Raises:
        DataError: The work is larger than the memory that is free.
    """
    _check_memory(shape, 2)
    if array.shape == tuple(shape):
        return np.ascontiguousarray(array)
    import torch

    labels = torch.from_numpy(np.ascontiguousarray(array))
    best = torch.full(tuple(shape), -1.0)
    result = torch.zeros(tuple(shape), dtype=labels.dtype)
    for value in (*range(classes), *([] if left_out is None else [left_out])):
        share = _share(labels == value, shape)
        wins = share > best
        result[wins] = value
        best = torch.maximum(best, share)
    done: NDArray[Any] = result.numpy()
    return done


def resample_shares(inside: Array, shape: Sequence[int]) -> NDArray[np.bool_]:
    """A bool mask (*spatial) on another grid: it is where its linear interpolation is more than a half."""
    if inside.shape == tuple(shape):
        return np.asarray(inside, dtype=np.bool_)
    import torch

    done: NDArray[np.bool_] = (_share(torch.from_numpy(np.ascontiguousarray(inside)), shape) > 0.5).numpy()
    return done


def _share(inside: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    from torch.nn import functional

    from ..support.torch_dims import LINEAR

    mask = inside.float()[None, None]
    return functional.interpolate(mask, tuple(shape), mode=LINEAR[len(shape)], align_corners=False)[0, 0]
