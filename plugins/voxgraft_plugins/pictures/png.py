"""The PNG writer: 8 or 16 bits, grey or RGB, with the affine beside the pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgraft.plugin import DataError, Volume

from .options import PngWriterOptions
from .place import KEY
from .values import rows_of

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
        notes = PngImagePlugin.PngInfo()
        notes.add_text(KEY, json.dumps(volume.affine.tolist()))
        x, y = (25.4 / step for step in volume.spacing)
        Image.fromarray(rows).save(target, "PNG", pnginfo=notes, compress_level=self._level, dpi=(x, y))
