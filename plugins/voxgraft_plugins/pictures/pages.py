"""The pixels of a TIFF's pages: by tifffile where it can unpack them, else page by page by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgraft.volume import Array

from .layers import MINISWHITE, PALETTE, Layers

if TYPE_CHECKING:
    from tifffile import TiffFile

_OWN = {1, 8, 32946, 32773, 34925}
"""Compressions that tifffile unpacks by itself: none, deflate (two codes), packbits, LZMA."""


def read_pages(file: TiffFile, layers: Layers, path: Path) -> Array:
    """The array of an image as it is stored, of shape `layers.stored`.

    Raises:
        ValueError: The pages are packed in a way that is not read, or damaged.
    """
    first = layers.pages[0].keyframe
    plain = int(first.compression) == 1 or int(first.predictor) in (1, 2)
    if int(first.compression) in _OWN and plain:
        stored = file.series[0].asarray(maxworkers=1)
        return np.asarray(stored).reshape(layers.stored)
    return _by_pillow(path, layers)


def _by_pillow(path: Path, layers: Layers) -> Array:
    """LZW, JPEG and the compressions of fax, for the pixels that Pillow knows."""
    from PIL import TiffImagePlugin

    if layers.dtype.itemsize > 1 and ("S" in layers.axes or layers.bits not in (16, 32)):
        raise ValueError("its deep colours are packed in a way that is not read; save it uncompressed or with deflate")
    found = []
    with TiffImagePlugin.TiffImageFile(path) as picture:
        for page in layers.pages:
            picture.seek(page.index)
            picture.load()
            found.append(_as_stored(np.array(picture), picture.mode, layers))
    rows = np.stack(found)
    if "S" in layers.axes and layers.axes.index("S") < layers.axes.index("Y"):
        rows = np.moveaxis(rows, -1, 1)  # stored colour by colour
    return rows.reshape(layers.stored)


def _as_stored(rows: Array, mode: str, layers: Layers) -> Array:
    """What Pillow makes of a page, turned back into the values in the file."""
    if layers.photometric == PALETTE and mode != "P":
        raise ValueError("its palette is packed in a way that is not read; save it uncompressed or with deflate")
    if layers.bits == 1:
        rows = rows.astype(np.bool_)
    if layers.photometric == MINISWHITE and mode in ("1", "L"):
        rows = ~rows  # Pillow has turned black and white round already
    wanted = layers.stored[layers.axes.index("S")] if "S" in layers.axes else 1
    if (rows.ndim == 3 and rows.shape[2] != wanted) or (rows.ndim == 2 and wanted != 1):
        raise ValueError("its colours are packed in a way that is not read; save it uncompressed or with deflate")
    return rows
