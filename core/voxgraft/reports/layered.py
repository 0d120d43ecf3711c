"""A grey picture with colours over it, kept as two layers of bytes: drawn quickly, and a small PNG with a palette."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.volume import Array, Colour

GREYS = 20
"""Shades of grey, the first entries of the palette; with 64 the file would be 1.6 times as large."""
STEPS = (np.arange(256) * GREYS // 256).astype(np.uint8)
"""The entry of each brightness."""
SHADES = 3
"""Of a colour, so that letters have soft edges; one where there are too many colours for that."""
LEVEL = 2
"""Of compression: the third of four of Intel's library, which is several times as fast as the usual one."""


@dataclass(frozen=True, eq=False)
class Stamp:
    """A text to be written, of shape (row, column).

    Attributes:
        ink: How much of each pixel its letters take, 0 to 1.
        edge: How much they cover together with a dark edge of a pixel.
    """

    ink: Array
    edge: Array

    @cached_property
    def beside(self) -> Array:
        """What is left of the picture below."""
        return 1 - self.edge

    def entries(self, entry: int, shades: int) -> tuple[Array, Array]:
        """Where entries of the palette change, and what they become: shades of a colour in letters, 0 at their edges.

        Args:
            entry: That of the darkest shade; 0 for a colour that the palette does not have.
            shades: Of the colour.
        """
        return _entries(self, entry, shades)


@lru_cache(maxsize=1024)
def _entries(stamp: Stamp, entry: int, shades: int) -> tuple[Array, Array]:
    inside = (stamp.ink > 1 / (2 * SHADES)) & (entry > 0)
    shade = np.minimum(stamp.ink * shades, shades - 1).astype(np.uint8)
    return inside | (stamp.edge > 0.5), np.where(inside, np.uint8(entry) + shade, np.uint8(0))


@dataclass(frozen=True, slots=True)
class Palette:
    """Which entry of the palette stands for which colour.

    Attributes:
        first: The entry of the darkest shade of each colour.
        shades: Of each colour.
    """

    first: dict[Colour, int]
    shades: int

    @classmethod
    def of(cls, colours: Iterable[Colour]) -> Palette:
        """Room for these; where there are too many, the first ones stand for more."""
        each = list(dict.fromkeys(colours))
        shades = SHADES if SHADES * len(each) <= 256 - GREYS else 1
        return cls({colour: GREYS + (number * shades) % (256 - GREYS) for number, colour in enumerate(each)}, shades)

    def brightest(self, colour: Colour) -> int:
        """The entry of a colour that is not darkened."""
        return self.first[colour] + self.shades - 1

    def table(self, greys: Array) -> NDArray[np.uint8]:
        """Red, green and blue of all entries (256, 3), the first of them these greys."""
        table = np.zeros((256, 3), np.uint8)
        table[:GREYS] = greys[:, None]
        colours = np.array(list(reversed(self.first)), np.uint8).reshape(-1, 3)
        entries = np.array(list(reversed(self.first.values())), int)
        for shade in range(self.shades):
            table[entries + shade] = np.rint(colours * ((shade + 1) / self.shades))
        return table


@dataclass(frozen=True, slots=True)
class Layered:
    """A part of such a picture; what is written into it is written into the whole.

    Attributes:
        grey: (row, column), uint8.
        over: Entries of the palette that lie over it; 0 where none does.
        palette: Of all the picture.
    """

    grey: Array
    over: Array
    palette: Palette

    @property
    def shape(self) -> tuple[int, ...]:
        return self.grey.shape

    def __getitem__(self, part: Any) -> Layered:
        return Layered(self.grey[part], self.over[part], self.palette)

    def fill(self, colour: Colour) -> None:
        """Lay a colour over all of it."""
        self.over[...] = self.palette.brightest(colour)

    def write(self, stamp: Stamp, colour: Colour) -> None:
        """Write letters with dark edges; a colour that the palette does not have becomes a grey as bright."""
        part = tuple(map(slice, self.shape))
        self.grey[...] = self.grey * stamp.beside[part] + (max(colour) * stamp.ink)[part]
        entry = self.palette.first.get(colour, 0)
        covered, letters = stamp.entries(entry, self.palette.shades)
        np.copyto(self.over, letters[part], where=covered[part])

    def png(self) -> bytes:
        """The picture as a PNG of 256 colours."""
        from isal import isal_zlib

        rows, columns = self.shape
        steps = np.multiply(self.grey, GREYS, dtype=np.uint16)
        steps >>= 8
        entries = np.maximum(self.over, steps.astype(np.uint8))  # colours come after the greys
        lines = np.full((rows, columns + 1), 2, np.uint8)  # the filter of each line: less the line above it
        lines[0, 1:] = entries[0]
        np.subtract(entries[1:], entries[:-1], out=lines[1:, 1:])
        head = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
        parts = [(b"IHDR", head), (b"PLTE", self.palette.table(_means(self.grey)).tobytes())]
        parts += [(b"IDAT", isal_zlib.compress(lines, LEVEL)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _means(grey: Array) -> Array:
    """What stands for the brightnesses of each step: their mean in this picture, by some of its pixels."""
    counts = np.bincount(grey[::3, ::3].ravel(), minlength=256).astype(float) + 1e-6
    sums, sizes = (np.bincount(STEPS, one, GREYS) for one in (counts * np.arange(256), counts))
    return np.rint(sums / sizes).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
