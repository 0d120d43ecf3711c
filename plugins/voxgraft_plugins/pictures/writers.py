"""The writers of pictures: PNG of 8 or 16 bits, and TIFF of any depth; both keep the affine beside the pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.plugin import Array, DataError, Volume, mask_values

from .options import PngWriterOptions, TiffWriterOptions
from .place import DIMS, KEY, known_affine

if TYPE_CHECKING:
    from voxgraft.plugin import Labels


class PngWriter:
    """Writes an image of two axes as a picture, i to the right and j downwards, whichever way they lie in space."""

    def __init__(self, options: PngWriterOptions) -> None:
        self._level = options.level

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write grey of 8 or 16 bits, or RGB of 8; values stay as they are.

        Raises:
            DataError: A picture cannot hold it: three axes, fractions, values below 0 or above 65535.
        """
        from PIL import Image, PngImagePlugin

        if volume.dims != 2:
            raise DataError(f"{target}: a PNG holds two axes, this volume has three; write NIfTI or TIFF")
        if volume.channels not in (1, 3):
            raise DataError(f"{target}: a PNG holds grey or RGB, this image has {volume.channels} channels")
        rows = rows_of(volume, labels, target)
        if rows.dtype not in (np.uint8, np.uint16) or (rows.dtype == np.uint16 and volume.channels == 3):
            what = "colours of 8 bits" if volume.channels == 3 else "whole numbers from 0 to 65535"
            raise DataError(f"{target}: a PNG holds {what}, this image is of type {rows.dtype}; write TIFF or NIfTI")
        notes, more = PngImagePlugin.PngInfo(), dict[str, Any]()
        if (affine := known_affine(volume)) is not None:
            notes.add_text(KEY, json.dumps(affine.tolist()))
            more = {"dpi": tuple(25.4 / step for step in volume.spacing)}
        Image.fromarray(rows).save(target, "PNG", pnginfo=notes, compress_level=self._level, **more)


class TiffWriter:
    """Writes slices as pages, i to the right and j downwards, and channels as pages of their own or colours."""

    def __init__(self, options: TiffWriterOptions) -> None:
        self._level = options.level

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write a volume as it stands; three channels of 8 bits are colours.

        Raises:
            DataError: TIFF has no type for its voxels.
        """
        import tifffile

        rows = rows_of(volume, labels, target)
        colours = volume.channels == 3 and rows.dtype.itemsize == 1
        axes = ("C" if volume.channels > 1 and not colours else "") + ("Z" if volume.dims == 3 else "") + "YX"
        notes: dict[str, Any] = {"axes": axes + "S" * colours, DIMS: volume.dims}
        more: dict[str, Any] = {}
        if (affine := known_affine(volume)) is not None:
            notes[KEY] = affine.tolist()
            more = {"resolution": tuple(10.0 / step for step in volume.spacing[:2]), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(
            target,
            rows,
            bigtiff=rows.nbytes > 3 << 30,
            photometric="rgb" if colours else "minisblack",
            compression="zlib" if self._level else None,
            compressionargs={"level": self._level} if self._level else None,
            metadata=notes,
            software=None,
            datetime=None,
            **more,
        )


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
