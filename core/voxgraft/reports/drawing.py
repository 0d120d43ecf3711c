"""Contours, letters and captions on pictures, as arrays; a picture is kept with its contours and without them.

Where nothing but grey is below, a picture is two layers of bytes: drawn quickly, and a small PNG with a palette.
"""

from __future__ import annotations

import colorsys
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from io import BytesIO
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


@lru_cache(maxsize=1024)
def _entries(stamp: Stamp, entry: int, shades: int) -> tuple[Array, Array]:
    """Where entries of the palette change, and what they become: shades of a colour in letters, 0 at their edges.

    Args:
        entry: That of the darkest shade; 0 for a colour that the palette does not have.
    """
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
        covered, letters = _entries(stamp, entry, self.palette.shades)
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


CAPTION: Colour = (226, 230, 236)
LETTER, WORD = 24, 19
"""Pixels: the height of letters that say directions, and of words."""
QUALITY = 85
"""Of JPEG: nothing of a contour is lost, since colours are kept at full resolution."""

COLOURS: tuple[Colour, ...] = (
    (64, 196, 255),
    (255, 99, 71),
    (255, 214, 64),
    (124, 230, 110),
    (224, 130, 255),
    (255, 160, 64),
    (120, 255, 220),
    (255, 150, 190),
)
"""Contours of the first, second ... structure, the first to be seen on grey and on red; `colour_of` gives more."""
GOLDEN = 0.6180339887


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as two files, so that a page can switch the contours on and off.

    Attributes:
        drawn: With contours.
        plain: The same without.
        caption: What is seen, in words.
    """

    drawn: bytes
    plain: bytes
    caption: str = ""


def colour_of(index: int) -> Colour:
    """The colour of a structure by its place; no two of the first hundred are alike."""
    if index < len(COLOURS):
        return COLOURS[index]
    turn = (index - len(COLOURS)) * GOLDEN % 1.0
    strong = 0.45 + 0.15 * (index % 3)
    red, green, blue = colorsys.hsv_to_rgb(turn, strong, 1.0 - 0.12 * (index % 2))
    return round(255 * red), round(255 * green), round(255 * blue)


def outline(labels: Array, width: int) -> Array:
    """The pixels of structures that are so near to another value; the border of the picture is none.

    Args:
        labels: Shape (row, column); 0 is outside of every structure.
        width: Pixels, all of them inside the structure.
    """
    inside = labels != 0
    core = inside.copy()
    down, right = labels[1:] == labels[:-1], labels[:, 1:] == labels[:, :-1]
    core[1:] &= down
    core[:-1] &= down
    core[:, 1:] &= right
    core[:, :-1] &= right
    for _ in range(width - 1):
        less = core.copy()
        less[1:] &= core[:-1]
        less[:-1] &= core[1:]
        less[:, 1:] &= core[:, :-1]
        less[:, :-1] &= core[:, 1:]
        core = less
    found: Array = inside & ~core
    return found


Canvas = Array | Layered
"""Pixels (row, column[, 3]) that are written on, or a grey picture with colours over it."""


def write_words(canvas: Canvas, place: tuple[float, float], text: str, anchor: str, size: int, colour: Colour) -> int:
    """Write a text with a dark edge onto a picture; what would lie outside is moved inside, or cut off.

    Args:
        canvas: Shape (row, column[, 3]), changed in place; a grey one gets the brightness of the colour.
        place: Row and column.
        anchor: Which point of the text lies there: `l`, `m` or `r`, then `t`, `m` or `b`.

    Returns:
        The width of the text in pixels.
    """
    stamp = _stamp(text, size)
    rows, columns = stamp.ink.shape
    top = place[0] - {"t": 0, "m": rows / 2, "b": rows}[anchor[1]]
    left = place[1] - {"l": 0, "m": columns / 2, "r": columns}[anchor[0]]
    row = int(max(0, min(round(top), canvas.shape[0] - rows)))
    column = int(max(0, min(round(left), canvas.shape[1] - columns)))
    part = canvas[row : row + rows, column : column + columns]
    if isinstance(part, Layered):
        part.write(stamp, colour)
        return int(columns)
    ink, beside = (each[: part.shape[0], : part.shape[1]] for each in (stamp.ink, stamp.beside))
    if part.ndim == 2:
        part[...] = part * beside + max(colour) * ink
    else:
        part[...] = part * beside[..., None] + np.array(colour, np.float32) * ink[..., None]
    return int(columns)


def width_of(text: str, size: int) -> int:
    """Pixels that a text takes."""
    return int(_stamp(text, size).ink.shape[1])


def write_names(canvas: Canvas, named: Sequence[tuple[str, Colour]], room: int) -> None:
    """Write names in their colours at the lower left, as many as fit, then how many more there are.

    Args:
        canvas: Shape (row, column[, 3]), changed in place.
        named: Names and colours, the most important first; a single name that does not fit is cut.
        room: Pixels that they may take.
    """
    x, bottom = 4, canvas.shape[0] - 3
    for number, (name, colour) in enumerate(named):
        rest = f"+{len(named) - number}"
        more = width_of(f"+{len(named) - number - 1}", WORD) + 10 if number + 1 < len(named) else 0
        if x + width_of(name, WORD) + more > room:
            text = _cut(name, room - x, WORD) if number == 0 and not more else rest
            write_words(canvas, (bottom, x), text, "lb", WORD, CAPTION if text == rest else colour)
            return
        x += 6 + write_words(canvas, (bottom, x), name, "lb", WORD, colour)


def _cut(name: str, room: int, size: int) -> str:
    """A name that is no wider than the room for it."""
    while len(name) > 2 and width_of(name, size) > room:
        name = name.removesuffix("…")[:-1] + "…"
    return name


def as_jpeg(canvas: Array) -> bytes:
    """A picture of shape (row, column[, 3]) as JPEG."""
    from PIL import Image

    stream = BytesIO()
    options: dict[str, Any] = {"subsampling": 0} if canvas.ndim == 3 else {}
    Image.fromarray(canvas).save(stream, "JPEG", quality=QUALITY, **options)
    return stream.getvalue()


def as_png(canvas: Array) -> bytes:
    """A picture of shape (row, column[, 3]) as PNG of at most 192 colours.

    That takes half the time and a third of the bytes of all colours, and looks the same at a glance.
    """
    from PIL import Image

    stream = BytesIO()
    picture = Image.fromarray(canvas).convert("RGB")
    few = picture.quantize(192, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


@lru_cache(maxsize=1024)
def _stamp(text: str, size: int) -> Stamp:
    """A text in letters of so many pixels."""
    from PIL import Image, ImageDraw
    from scipy.ndimage import maximum_filter

    font = _font(size)
    left, _, right, _ = font.getbbox(text)
    picture = Image.new("L", (max(5, round(right - left) + 4), sum(font.getmetrics()) + 2))
    ImageDraw.Draw(picture).text((2 - left, 1), text, fill=255, font=font)
    ink = np.asarray(picture, np.float32) / 255
    return Stamp(ink, maximum_filter(ink, 5, mode="nearest"))


@cache
def _font(size: int) -> Any:  # Pillow gives one of two unrelated classes
    from PIL import ImageFont

    return ImageFont.load_default(size)
