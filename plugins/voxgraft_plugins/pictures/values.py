"""Voxels as rows of pixels, in a type that pictures have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgraft.plugin import Array, DataError, Volume, mask_values

if TYPE_CHECKING:
    from voxgraft.plugin import Labels


def rows_of(volume: Volume, labels: Labels | None, target: Path) -> Array:
    """(y, x), (z, y, x), (channel, ...) or, for three channels of bytes, (..., colour), in this machine's byte order.

    Masks become uint8, or uint16 where a value is above 255.

    Args:
        volume: (i, j), (i, j, k) or (channel, ...).
        labels: The structures of a mask; None for an image.
        target: The file that is written, for messages.

    Raises:
        DataError: A mask holds other values, or voxels are of a type that pictures do not have.
    """
    array = volume.array
    if labels is not None:
        array = mask_values(array, labels, target)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise DataError(f"{target}: a picture has no voxels of type {array.dtype}")
    if array.dtype.kind == "i" or array.dtype.itemsize == 8:
        array = _narrowed(array, target)
    dims = volume.dims
    lead = array.ndim - dims
    rows = array.transpose(*range(lead), *range(array.ndim - 1, lead - 1, -1))
    if lead and rows.shape[0] == 1:
        rows = rows[0]
    elif lead and rows.shape[0] == 3 and rows.dtype.itemsize == 1:
        rows = np.moveaxis(rows, 0, -1)
    return np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))


def _narrowed(array: Array, target: Path) -> Array:
    """The smallest type that readers of pictures share and that holds all values."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    lowest, highest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if lowest >= 0 and array.dtype.itemsize > 1 and highest < 65536:
        return array.astype(np.uint16)
    if array.dtype.itemsize < 8:
        return array
    if not -(1 << 31) <= lowest <= highest < 1 << 31:
        raise DataError(f"{target}: values from {lowest} to {highest} fit no type that readers of pictures share")
    return array.astype(np.int32)
