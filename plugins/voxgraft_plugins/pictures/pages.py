"""The pixels of a TIFF's pages: by tifffile where it can unpack them, else page by page by Pillow."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgraft.plugin import Array

from .layers import MINISWHITE, PALETTE, Layers

if TYPE_CHECKING:
    from tifffile import TiffFile

_OWN = {1, 8, 32946, 32773, 34925}
"""Compressions that tifffile unpacks by itself: none, deflate (two codes), packbits, LZMA."""
_DEFLATE, _LZMA = (8, 32946), 34925
_RATIO = {8: 1040, 32946: 1040, 32773: 64, 34925: 8000}
"""To at most about so many times its length a part unpacks."""
_SLACK = 1 << 24
"""Bytes beyond what is promised that do no harm."""


def read_pages(file: TiffFile, layers: Layers, path: Path) -> Array:
    """The array of an image as it is stored, of shape `layers.stored`.

    Args:
        file: The open file.
        layers: Which pages make up the image, and how.
        path: The file's path, for messages.

    Raises:
        ValueError: The pages are packed in a way that is not read, or damaged.
    """
    first = layers.pages[0].keyframe
    plain = int(first.compression) == 1 or int(first.predictor) in (1, 2)
    if int(first.compression) in _OWN and plain:
        _check_segments(file, layers)
        stored = file.series[0].asarray(maxworkers=1)
        return np.asarray(stored).reshape(layers.stored)
    return _by_pillow(path, layers)


def _check_segments(file: TiffFile, layers: Layers) -> None:
    """Refuse strips and tiles that unpack to more than their page: tifffile unpacks each whole before it cuts it.

    Raises:
        ValueError: One does.
    """
    for page in layers.pages:
        frame = page.keyframe
        most = int(np.prod(frame.chunks, dtype=object)) * layers.dtype.itemsize * max(1, int(frame.samplesperpixel))
        for at, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            if length * _RATIO.get(int(frame.compression), 1) <= most + _SLACK:
                continue
            file.filehandle.seek(at)
            if _exceeds(int(frame.compression), file.filehandle.read(length), most + _SLACK):
                raise ValueError(f"its pixels unpack to more than the {most} bytes of a part that its tags promise")


def _exceeds(compression: int, data: bytes, most: int) -> bool:
    """Whether packed bytes unpack to more than so many."""
    if compression in _DEFLATE:
        return len(zlib.decompressobj().decompress(data, most + 1)) > most
    if compression == _LZMA:
        return len(lzma.LZMADecompressor().decompress(data, most + 1)) > most
    return len(data) > 2 * most  # none and packbits, whose bytes never double in number when they are packed


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
