"""The reader of PNG, JPEG, BMP, GIF and PNM pictures: stored values, the screen's axes, colours as channels."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.plugin import Array, BadImage, Colour, Item, Problem, Volume

from .options import PictureOptions
from .place import KEY, dots, no_spacing, screen_affine, turned, upright, written_affine

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "PPM")
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "F"}
_COLOUR = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "YCbCr"}
_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
_ORIENTATION = 274
_DAMAGED: Any = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)
"""What Pillow raises over spoilt files; a truncated file is an OSError of its own making."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What a picture says before its pixels are unpacked."""

    shape: tuple[int, int]
    channels: int
    bits: int
    kind: int
    orientation: int
    affine: Array
    problems: tuple[Problem, ...]
    palette: dict[int, Colour] | None


class PictureReader:
    """Reads pictures as images of two axes (i to the right, j downwards), or (channel, i, j) in the order R, G, B.

    Values are those stored: 1-bit pictures give 0 and 1, grey of 2 and 4 bits is not stretched. A palette of greys
    gives greys, one of colours gives colours; the item holds the palette, and `numbers` reads what is stored.
    """

    def __init__(self, options: PictureOptions) -> None:
        self._limit = options.pixels

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe each file from its header."""
        return [self._describe(file) for file in files]

    def read(self, item: Item) -> Volume:
        """Read the pixels; the first axis is contiguous in memory.

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        return self._read(item, _rows)

    def numbers(self, item: Item) -> Volume:
        """Read the numbers that a picture with a palette stores.

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        return self._read(item, _indices)

    def _read(self, item: Item, work: Callable[[Path, Image, _Head], Array]) -> Volume:
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            with _opened(item.path) as picture:
                head = _head(item.path, picture)
                rows = work(item.path, picture, head)
        except _DAMAGED as error:
            raise BadImage(item.path, _reason(error)) from error
        if (head.shape, head.channels, head.palette) != (item.shape, item.channels, item.palette):
            raise BadImage(item.path, "it has changed since it was looked at")
        rows = upright(rows, head.orientation)
        planes = np.ascontiguousarray(rows if rows.ndim == 2 else np.moveaxis(rows, 2, 0))
        array = planes.swapaxes(-1, -2)
        return Volume(array, head.affine, dims=2, item=item)

    def _describe(self, file: Path) -> Item:
        try:
            with _opened(file) as picture:
                head = _head(file, picture)
                frames = int(getattr(picture, "n_frames", 1))
                facts = {"mode": picture.mode, "bits": head.bits}
                kind = picture.format
        except _DAMAGED as error:
            fault = Problem("unreadable", _reason(error))
            return Item(file, "picture", (), np.eye(4), problems=(fault,), files=(file,))
        problems = list(head.problems)
        if head.shape[0] * head.shape[1] > self._limit:
            text = f"it unpacks to {head.shape[0]}x{head.shape[1]} pixels, more than the {self._limit} that are read"
            problems.append(Problem("too-large", text))
        if frames > 1 and kind != "MPO":
            problems.append(Problem("several-frames", f"it is a moving picture of {frames} frames and no single image"))
        return Item(
            path=file,
            reader="picture",
            shape=head.shape,
            affine=head.affine,
            channels=head.channels,
            problems=tuple(problems),
            files=(file,),
            facts=facts,
            palette=head.palette,
            colours=head.channels == 3,
        )


@contextmanager
def _opened(file: Path) -> Iterator[Image]:
    from PIL import Image

    Image.preinit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=_FORMATS) as picture:
                yield picture
        except Image.DecompressionBombError:
            raise ValueError("it unpacks to more than 170 million pixels, more than are read") from None


def _head(file: Path, picture: Image) -> _Head:
    """What the header of an opened picture says.

    Raises:
        ValueError: Its colours are not read.
    """
    if picture.mode not in _GREY | _COLOUR:
        raise ValueError(f"its colours are {picture.mode}, made for printing; save it in RGB")
    bits, kind = _png_depth(file) if picture.format == "PNG" else (8, -1)
    exif = picture.getexif() if picture.format in ("JPEG", "MPO", "PNG") else {}
    found = exif.get(_ORIENTATION, 1)
    orientation = found if isinstance(found, int) and found in range(1, 9) else 1
    width, height = picture.size
    if orientation > 4:
        width, height = height, width
    palette = _palette(picture)
    grey = picture.mode in _GREY or (palette is not None and all(r == g == b for r, g, b in palette.values()))
    spacing, affine = _spacing(picture)
    problems = [*turned(orientation), *no_spacing(None if affine is None and spacing is None else (1.0,))]
    if picture.mode in _ALPHA or "transparency" in picture.info:
        problems.append(Problem("alpha", "its transparency was left out", "repair"))
    if affine is None:
        affine = screen_affine((spacing or (1.0, 1.0))[:: -1 if orientation > 4 else 1])
    return _Head((width, height), 1 if grey else 3, bits, kind, orientation, affine, tuple(problems), palette)


def _spacing(picture: Image) -> tuple[tuple[float, float] | None, Array | None]:
    """Millimetres of a pixel, and the affine that VoxGraft wrote; only PNG has either."""
    if picture.format != "PNG":
        return None, None
    affine = written_affine(getattr(picture, "text", {}).get(KEY))
    density = picture.info.get("dpi")
    return (dots(float(density[0]), float(density[1])) if density else None), affine


def _palette(picture: Image) -> dict[int, Colour] | None:
    """The colours of a palette by number; None where the picture has none."""
    if picture.mode not in ("P", "PA"):
        return None
    flat = picture.getpalette("RGB") or []
    return {at // 3: (flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat) - 2, 3)}


def _indices(file: Path, picture: Image, head: _Head) -> Array:
    """The numbers (y, x) that a picture with a palette stores.

    Raises:
        ValueError: The file is damaged, or a number has no colour.
    """
    picture.load()
    if picture.format == "PNG":
        _check_png(file)
    rows: Array = np.array(picture)
    return rows[..., 0] if rows.ndim == 3 else rows


def _rows(file: Path, picture: Image, head: _Head) -> Array:
    """Pixels (y, x), or (y, x, colour), with the values that are stored."""
    picture.load()
    if picture.format == "PNG":
        _check_png(file)
        if head.bits == 16 and picture.mode != "I;16":
            return _deep_png(file, head)
    if head.channels == 3:
        return np.array(picture.convert("RGB"))
    if picture.mode in ("P", "PA", "LA", "La"):
        return np.array(picture.convert("L"))
    array: Array = np.array(picture)
    if array.dtype == np.bool_:
        return np.asarray(array.view(np.uint8) != 0).view(np.uint8)  # Pillow's have bytes of 255
    if head.kind == 0 and head.bits in (2, 4):
        return np.asarray(array // (255 // ((1 << head.bits) - 1)))
    return array.astype(array.dtype.newbyteorder("=")) if not array.dtype.isnative else array


def _png_depth(file: Path) -> tuple[int, int]:
    """Bits of a sample, and PNG's code of its colours (0 grey, 2 RGB, 3 palette, 4 and 6 with transparency)."""
    with file.open("rb") as stream:
        head = stream.read(26)
    return head[24], head[25]


def _check_png(file: Path) -> None:
    """Compare the checksum of every part; Pillow does so only for some.

    Raises:
        ValueError: One differs, or the end is missing.
    """
    with file.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        _check_parts(data)


def _check_parts(data: mmap) -> None:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if int.from_bytes(data[end : end + 4], "big") != zlib.crc32(memoryview(data)[at + 4 : end]):
            raise ValueError("the checksum of a part of it is wrong; copy the file again")
        if bytes(data[at + 4 : at + 8]) == b"IEND":
            return
        at = end + 4
    raise ValueError("its end is missing; the file is truncated, copy it again")


def _deep_png(file: Path, head: _Head) -> Array:
    """A PNG of 16 bits a colour, which Pillow would cut down to 8."""
    import SimpleITK as sitk

    try:
        rows: Array = sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="PNGImageIO"))
    except RuntimeError as error:
        raise ValueError("its pixels cannot be unpacked") from error
    rows = rows.reshape(rows.shape[0], rows.shape[1], -1)
    return rows[:, :, :3] if head.channels == 3 else rows[:, :, 0]


def _reason(error: BaseException) -> str:
    """One sentence of what Pillow says."""
    text = " ".join(str(error).split())
    if "cannot identify" in text:
        return "it is not a picture of the kind that its name says, or an empty or damaged one"
    if "ecompressed data too large" in text or "text chunks" in text:
        return "a text or a colour profile in it unpacks to more than a megabyte; save it without"
    if "truncated" in text or "premature" in text or isinstance(error, EOFError):
        return "its pixels end too early; the file is truncated, copy it again"
    if (isinstance(error, ValueError) and text.startswith("its ")) or text.startswith(("it ", "the checksum")):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return "it is damaged; copy the file again"
