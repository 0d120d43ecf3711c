"""Options of the readers and writers of pictures."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from voxgraft.plugin import Options


class PictureOptions(Options):
    """Options of the reader of PNG, JPEG, BMP, GIF and PNM."""

    pixels: Annotated[int, Gt(0), Le(170_000_000)] = 170_000_000
    """Largest number of pixels; a picture with more is refused, for a small file can unpack to more than a machine's
    memory."""


class TiffOptions(Options):
    """Options of the reader of TIFF."""

    voxels: Annotated[int, Gt(0)] = 1 << 31
    """Largest number of voxels; an image with more is refused, for a small file can unpack to more than a machine's
    memory."""


class PngWriterOptions(Options):
    """Options of the writer of PNG."""

    level: Annotated[int, Ge(0), Le(9)] = 6
    """Compression level, from 0 (fastest) to 9 (smallest)."""


class TiffWriterOptions(Options):
    """Options of the writer of TIFF."""

    level: Annotated[int, Ge(0), Le(9)] = 6
    """Compression level, from 0 (none) to 9 (smallest)."""
