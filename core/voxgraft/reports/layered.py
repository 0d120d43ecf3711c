"""A grey picture with colours over it, kept as two layers of bytes: drawn quickly, and a small PNG with a palette."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
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

    def entries(self, colour: Colour, share: Any) -> Any:
        """The entry of a colour, from its darkest to its brightest shade for a share from 0 to 1."""
        return np.uint8(self.first[colour]) + np.minimum(share * self.shades, self.shades - 1).astype(np.uint8)

    def table(self, greys: Array) -> NDArray[np.uint8]:
        """Red, green and blue of all entries (256, 3), the first of them these greys."""
        table = np.zeros((256, 3), np.uint8)
        table[:GREYS] = greys[:, None]
        for colour, entry in reversed(self.first.items()):
            for shade in range(self.shades):
                table[entry + shade] = np.rint(np.array(colour) * (shade + 1) / self.shades)
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
        self.over[...] = self.palette.entries(colour, np.float32(1))

    def write(self, ink: Array, edge: Array, colour: Colour) -> None:
        """Write letters with dark edges; a colour that the palette does not have becomes a grey as bright.

        Args:
            ink: How much of each pixel letters take, 0 to 1.
            edge: How much they cover together with their edge.
            colour: Of the letters.
        """
        self.grey[...] = self.grey * (1 - edge) + max(colour) * ink
        self.over[edge > 0.5] = 0
        if colour in self.palette.first:
            inside = ink > 1 / (2 * SHADES)
            self.over[inside] = self.palette.entries(colour, ink[inside])

    def png(self) -> bytes:
        """The picture as a PNG of 256 colours."""
        from isal import isal_zlib

        rows, columns = self.shape
        entries = np.where(self.over != 0, self.over, STEPS.take(self.grey))
        lines = np.full((rows, columns + 1), 2, np.uint8)  # the filter of each line: less the line above it
        lines[0, 1:] = entries[0]
        np.subtract(entries[1:], entries[:-1], out=lines[1:, 1:])
        head = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
        parts = [(b"IHDR", head), (b"PLTE", self.palette.table(_means(self.grey)).tobytes())]
        parts += [(b"IDAT", isal_zlib.compress(lines.tobytes(), LEVEL)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _means(grey: Array) -> Array:
    """What stands for the brightnesses of each step: their mean in this picture, by some of its pixels."""
    counts = np.bincount(grey[::2, ::2].ravel(), minlength=256).astype(float) + 1e-6
    sums, sizes = (np.bincount(STEPS, one, GREYS) for one in (counts * np.arange(256), counts))
    return np.rint(sums / sizes).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
