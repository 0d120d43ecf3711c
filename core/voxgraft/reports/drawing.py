"""Contours, letters and captions on pictures, as arrays; a picture is kept with its contours and without them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from io import BytesIO
from typing import Any

import numpy as np

from ..imaging.volume import Array, Colour
from .layered import Layered, Stamp

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

    font = _font(size)
    left, _, right, _ = font.getbbox(text)
    picture = Image.new("L", (max(5, round(right - left) + 4), sum(font.getmetrics()) + 2))
    ImageDraw.Draw(picture).text((2 - left, 1), text, fill=255, font=font)
    ink = np.asarray(picture, np.float32) / 255
    edge = ink.copy()
    for axis in (0, 1):
        one, wide = np.moveaxis(edge.copy(), axis, 0), np.moveaxis(edge, axis, 0)
        for step in (1, 2):
            wide[step:] = np.maximum(wide[step:], one[:-step])
            wide[:-step] = np.maximum(wide[:-step], one[step:])
    return Stamp(ink, edge)


@cache
def _font(size: int) -> Any:  # Pillow gives one of two unrelated classes
    from PIL import ImageFont

    return ImageFont.load_default(size)
