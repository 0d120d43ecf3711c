"""Voxels as rows of pixels, in a type that pictures have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgraft.plugin import Array, DataError, Volume

if TYPE_CHECKING:
    from voxgraft.plugin import Labels


def rows_of(volume: Volume, labels: Labels | None, target: Path) -> Array:
    """(y, x), (z, y, x), (channel, ...) or, for three channels of bytes, (..., colour), in this machine's byte order.

    Masks become uint8, or uint16 where a value is above 255.

    Raises:
        DataError: A mask holds other values, or voxels are of a type that pictures do not have.
    """
    array = volume.array
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype.kind not in ("iu" if labels is not None else "iuf") or array.dtype.itemsize > 8:
        what = "a mask holds whole numbers, this one is" if labels is not None else "a picture has no voxels"
        raise DataError(f"{target}: {what} of type {array.dtype}")
    if labels is not None or array.dtype.kind == "i" or array.dtype.itemsize == 8:
        array = _narrowed(array, labels, target)
    dims = volume.dims
    lead = array.ndim - dims
    rows = array.transpose(*range(lead), *range(array.ndim - 1, lead - 1, -1))
    if lead and rows.shape[0] == 1:
        rows = rows[0]
    elif lead and rows.shape[0] == 3 and rows.dtype.itemsize == 1:
        rows = np.moveaxis(rows, 0, -1)
    return np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))


def _narrowed(array: Array, labels: Labels | None, target: Path) -> Array:
    """The smallest type that readers of pictures share and that holds all values."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    lowest, highest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if labels is not None:
        if lowest < 0 or highest > 65535:
            wrong = lowest if lowest < 0 else highest
            raise DataError(f"{target}: a mask holds values from 0 to 65535, this one has {wrong}")
        highest = max(highest, *labels.values, 0)
        return array.astype(np.uint8 if highest < 256 else np.uint16)
    if lowest >= 0 and array.dtype.itemsize > 1 and highest < 65536:
        return array.astype(np.uint16)
    if array.dtype.itemsize < 8:
        return array
    if not -(1 << 31) <= lowest <= highest < 1 << 31:
        raise DataError(f"{target}: values from {lowest} to {highest} fit no type that readers of pictures share")
    return array.astype(np.int32)
