"""Options of the readers and writers of pictures."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from voxgraft.plugin import Options


class PictureOptions(Options):
    """Options of the reader of PNG, JPEG, BMP, GIF and PNM."""

    pixels: Annotated[int, Gt(0), Le(170_000_000)] = 170_000_000
    """A picture of more pixels is refused: a small file can unpack to more than a machine's memory."""


class TiffOptions(Options):
    """Options of the reader of TIFF."""

    voxels: Annotated[int, Gt(0)] = 1 << 31
    """An image of more voxels is refused: a small file can unpack to more than a machine's memory."""


class PngWriterOptions(Options):
    """Options of the writer of PNG."""

    level: Annotated[int, Ge(0), Le(9)] = 6
    """How hard it is compressed, from 0 (fastest) to 9 (smallest)."""


class TiffWriterOptions(Options):
    """Options of the writer of TIFF."""

    level: Annotated[int, Ge(0), Le(9)] = 6
    """How hard it is compressed, from 0 (not at all) to 9 (smallest)."""
