"""The TIFF reader: pictures, stacks of slices and channels, with the sizes that microscopes write."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume

from .layers import RGB, YCBCR, Layers, layers_of
from .options import TiffOptions
from .pages import read_pages
from .place import KEY, dots, no_spacing, screen_affine, written_affine

if TYPE_CHECKING:
    from tifffile import TiffFile


_MILLIMETRES = {
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "\\u00b5m"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1.0),
    **dict.fromkeys(("inch", "in"), 25.4),
    **{"nm": 1e-6, "cm": 10.0, "m": 1000.0},
}
_INCH, _CENTIMETRE = 2, 3
_DAMAGED = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, struct.error, zlib.error),
    *(RuntimeError, ArithmeticError, AssertionError, SyntaxError),
)
"""What tifffile raises over spoilt files; its own error is a ValueError."""


def affine_of(file: TiffFile, dims: int) -> tuple[Array | None, tuple[Problem, ...]]:
    """The affine, None where the sizes make none, and what to say of it.

    Args:
        dims: 3 where the pages are slices, whose distance has to be known as well.
    """
    own = written_affine(_own(file)) if _own(file) is not None else None
    if own is not None:
        return own, ()
    spacing = _of_ome(file) or _of_imagej(file) or _of_resolution(file)
    x, y, z = (*(spacing or (1.0, 1.0)), 0.0)[:3]
    affine = written_affine(screen_affine((x, y, z or 1.0)))
    if spacing is not None and dims == 3 and not z:
        text = "it does not say how far apart its slices are; 1 mm is assumed"
        return affine, (Problem("no-spacing", text, "warning"),)
    return affine, no_spacing(spacing)


def _own(file: TiffFile) -> Any:
    """What VoxGraft wrote into the description of the first page."""
    found: Any = file.shaped_metadata
    return found[0].get(KEY) if found and isinstance(found[0], dict) else None


def _of_ome(file: TiffFile) -> tuple[float, float, float] | None:
    """PhysicalSizeX, Y and Z (0 where it is missing) of the first `Pixels` of an OME header; micrometres where no unit
    is named."""
    text = file.ome_metadata
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text) if text else None
    if pixels is None:
        return None
    sizes = []
    for axis in "XYZ":
        value = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', pixels[0])
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', pixels[0])
        factor = _MILLIMETRES.get(unit[1] if unit else "µm")
        sizes.append(_positive(value[1]) * factor if value and factor else 0.0)
    x, y, z = sizes
    return (x, y, z) if x and y else None


def _of_imagej(file: TiffFile) -> tuple[float, float, float] | None:
    found: Any = file.imagej_metadata
    if not found or (factor := _MILLIMETRES.get(str(found.get("unit", "")).strip().lower())) is None:
        return None
    x, y = _resolution(file)
    z = _positive(found.get("spacing", 0)) * factor
    return (factor / x, factor / y, z) if x and y else None


def _of_resolution(file: TiffFile) -> tuple[float, float] | None:
    unit = file.pages.first.tags.get(296)
    x, y = _resolution(file)
    per_inch = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(int(unit.value) if unit is not None else _INCH)
    return dots(x * per_inch, y * per_inch) if per_inch and x and y else None


def _resolution(file: TiffFile) -> tuple[float, float]:
    """Pixels for each unit along x and y; 0 where the file does not say."""
    values = []
    for code in (282, 283):
        tag = file.pages.first.tags.get(code)
        above, below = tag.value if tag is not None and isinstance(tag.value, tuple) else (0, 0)
        values.append(above / below if below else 0.0)
    return values[0], values[1]


def _positive(text: object) -> float:
    """A number above 0; 0 where it is none."""
    try:
        value = float(str(text))
    except ValueError:
        return 0.0
    return value if 0 < value < 1e6 else 0.0


_BOMB = 3000
"""No compression of TIFF that is read unpacks to more than about so many times its length."""


class TiffReader:
    """Reads a TIFF as an image of two axes (i to the right, j downwards) or, from its slices, of three.

    Pages of one size are the slices of a volume, unless OME or ImageJ say that they are channels or time points;
    these, and colours, become channels. Transparency is left out.
    """

    def __init__(self, options: TiffOptions) -> None:
        self._limit = options.voxels

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe each file from its tags."""
        return [self._describe(file) for file in files]

    def read(self, item: Item) -> Volume:
        """Read the voxels: (i, j[, k]) or (channel, i, j[, k]); the first spatial axis is contiguous in memory.

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        return self._read(item, False)

    def numbers(self, item: Item) -> Volume:
        """Read the numbers that a TIFF with a palette stores, (i, j[, k]).

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        return self._read(item, True)

    def _read(self, item: Item, numbers: bool) -> Volume:
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            with opened(item.path) as file:
                layers = self._checked(file, item.path)
                affine, _ = affine_of(file, len(layers.shape))
                rows = read_pages(file, layers, item.path)
        except _DAMAGED as error:
            raise BadImage(item.path, _reason(error)) from error
        array = layers.arranged(rows, numbers)
        if (layers.shape, layers.channels) != (item.shape, item.channels) or affine is None:
            raise BadImage(item.path, "it has changed since it was looked at")
        return Volume(array, affine, dims=len(layers.shape), item=item)

    def _describe(self, path: Path) -> Item:
        try:
            with opened(path) as file:
                layers = self._checked(file, path)
                affine, problems = affine_of(file, len(layers.shape))
        except _DAMAGED as error:
            fault = Problem("unreadable", _reason(error))
            return Item(path, "tiff", (), np.eye(4), problems=(fault,), files=(path,))
        if affine is None:
            problems = (Problem("bad-affine", "its voxels are said to have a size that cannot be"),)
        return Item(
            path=path,
            reader="tiff",
            shape=layers.shape,
            affine=np.eye(4) if affine is None else affine,
            channels=layers.channels,
            problems=(*layers.problems, *problems),
            files=(path,),
            facts={"dtype": layers.dtype.name},
            palette=layers.palette,
            colours=layers.palette is not None or layers.photometric in (RGB, YCBCR),
        )

    def _checked(self, file: TiffFile, path: Path) -> Layers:
        _check_pages(file)
        layers = layers_of(file)
        size = path.stat().st_size
        count = layers.channels * int(np.prod([int(n) for n in layers.shape], dtype=object))
        if count > self._limit:
            raise ValueError(f"it unpacks to {count} voxels, more than the {self._limit} that are read")
        if count * layers.dtype.itemsize > size * _BOMB + (1 << 20):
            raise ValueError(f"its tags promise {count} voxels, which {size} bytes cannot hold")
        for page in layers.pages:
            ends = [at + length for at, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
            if not ends or 0 in page.databytecounts or min(page.dataoffsets) < 8 or max(ends) > size:
                raise ValueError("parts of its pixels are not in the file; it is truncated, copy it again")
        return layers


@contextmanager
def opened(path: Path) -> Iterator[TiffFile]:
    """The file by tifffile, which never follows an OME header to other files."""
    import logging

    from tifffile import TiffFile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it would say becomes a problem or an error here
    with TiffFile(path, _multifile=False) as file:
        yield file


def _check_pages(file: TiffFile) -> None:
    """Refuse a file that lost tags of its first page, or pages: tifffile would leave out what it cannot read.

    Raises:
        ValueError: Some are.
    """
    if _after(file, file.pages.first.offset)[0] != len(file.pages.first.tags):
        raise ValueError("some of its tags cannot be read; it is truncated or damaged, copy it again")
    if _after(file, file.pages[-1].offset)[1]:
        raise ValueError("its list of pages breaks off; it is truncated or damaged, copy it again")


def _after(file: TiffFile, offset: int) -> tuple[int, int]:
    """The number of tags of the page that begins here, and where the next begins; 0 behind the last."""
    tiff, handle = file.tiff, file.filehandle
    handle.seek(offset)
    (count,) = struct.unpack(tiff.tagnoformat, handle.read(tiff.tagnosize))
    handle.seek(count * tiff.tagsize, 1)
    (following,) = struct.unpack(tiff.offsetformat, handle.read(tiff.offsetsize))
    return count, following


def _reason(error: BaseException) -> str:
    """One sentence of what went wrong."""
    text = " ".join(str(error).split())
    if text.startswith(("it ", "its ", "parts ", "some ")) and text.isprintable():
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    if "requires the 'imagecodecs'" in text or isinstance(error, NotImplementedError):
        return "its pixels are packed in a way that is not read; save it uncompressed or with deflate"
    if "not a TIFF file" in text:
        return "it is not a TIFF file, or its beginning is damaged"
    return "it is damaged; copy the file again"
