"""What the pages of a TIFF are to each other: slices, channels, colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.plugin import Array, Colour, Problem

from .place import DIMS

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_SLICES = "ZQIR"
"""Axes of tifffile that run along slices: depth, and those that it knows nothing of."""
_SEVERAL = "CTSLHEAPVM"
"""Axes whose positions become channels: channels, time, samples of a pixel, lifetimes ..."""
MINISWHITE, RGB, PALETTE, YCBCR = 0, 2, 3, 6
_COLOURS = {MINISWHITE, 1, RGB, PALETTE, YCBCR, 32803}


@dataclass(frozen=True, slots=True)
class Layers:
    """An image in a TIFF.

    Attributes:
        shape: (i, j) or (i, j, k).
        channels: 1, or the number of colours, channels or time points, transparency not counted.
        dtype: How the voxels are given.
        axes: The letters of tifffile for the axes of `stored`, such as `ZYXS`; axes of length 1 are left out.
        stored: The shape as it is in the file.
        pages: The pages that hold it, in their order.
        photometric: The code of what values mean: 0 white is the lowest, 2 RGB, 3 palette ...
        palette: The colours by their numbers; None where there is none, or its colours are those greys themselves.
        bits: Of one sample.
        keep: How many of the last axis `S` are colours.
    """

    shape: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]
    axes: str
    stored: tuple[int, ...]
    pages: tuple[Any, ...]
    photometric: int
    bits: int
    keep: int
    palette: dict[int, Colour] | None = None
    problems: tuple[Problem, ...] = field(default=())

    def arranged(self, stored: Array, numbers: bool = False) -> Array:
        """(i, j[, k]) or (channel, i, j[, k]) from the array as it is in the file.

        Args:
            numbers: The numbers of a palette instead of their colours.
        """
        if self.photometric == MINISWHITE and stored.dtype.kind == "u":
            stored = np.asarray(stored.dtype.type((1 << self.bits) - 1) - stored)
        axes = self.axes
        if self.palette is not None and not numbers:
            table = np.array([self.palette[number] for number in range(len(self.palette))], np.uint8)
            stored, axes = table[stored], axes + "S"
        if "S" in axes:
            stored = np.take(stored, range(self.keep), axis=axes.index("S"))
            if self.keep == 1:
                stored, axes = stored.squeeze(axes.index("S")), axes.replace("S", "")
        several = [at for at, letter in enumerate(axes) if letter in _SEVERAL]
        slices = [at for at, letter in enumerate(axes) if letter in _SLICES]
        rows = np.ascontiguousarray(stored.transpose(*several, *slices, axes.index("Y"), axes.index("X")))
        rows = rows.astype(np.float32) if rows.dtype in (np.float16, np.float64) else rows
        if rows.dtype == np.bool_:  # Pillow's have bytes of 255
            rows = (rows.view(np.uint8) != 0).view(np.uint8)
        rows = rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))
        lead = 1 if several else 0
        array = rows.transpose(*range(lead), *range(rows.ndim - 1, lead - 1, -1))
        return array.reshape((*array.shape[:lead], *self.shape), order="A")


def layers_of(file: TiffFile) -> Layers:
    """The one image in a TIFF.

    Raises:
        ValueError: There is none or there are several, or its values are not read; the message is a sentence.
    """
    series = file.series
    if not series:
        raise ValueError("it holds no image")
    if len(series) > 1:
        sizes = ", ".join("x".join(map(str, one.shape)) for one in series[:4])
        raise ValueError(f"it holds {len(series)} images of different size or type ({sizes}); save the right one")
    one = series[0]
    if any(page is None for page in one.pages):
        raise ValueError("its header names pages that are in other files; save it as one file")
    first: TiffPage = one.keyframe
    _check_values(first)
    kept = [(letter, int(n)) for letter, n in zip(one.axes, one.shape, strict=True) if n != 1 or letter in "YX"]
    axes, stored = "".join(letter for letter, _ in kept), tuple(n for _, n in kept)
    if axes.count("Y") != 1 or axes.count("X") != 1 or set(axes) - set(_SLICES + _SEVERAL + "YX"):
        raise ValueError(f"its axes are {one.axes}, which is not read")
    colours, problems = _colours(first, dict(kept).get("S", 1))
    several = [n for letter, n in kept if letter in _SEVERAL and letter != "S"]
    slices = [n for letter, n in kept if letter in _SLICES]
    if len(several) + (colours > 1) > 1 or len(slices) > 1:
        raise ValueError(f"it has the axes {axes} of {stored}; one axis of channels and one of slices are read")
    palette = _palette(first)
    if int(first.photometric) == MINISWHITE and first.dtype == np.bool_:
        # Programs of science write masks so and mean 1 by true; others would turn black and white round.
        text = "it says that 0 is white; its values are given as they are stored, 0 and 1"
        problems = (*problems, Problem("white-is-zero", text, "warning"))
    lengths = dict(kept)
    if not slices and _written_as_volume(file):
        slices = [1]
    return Layers(
        shape=(lengths["X"], lengths["Y"], *slices),
        channels=3 if palette else several[0] if several else colours,
        dtype=np.dtype(np.uint8 if palette else first.dtype),
        axes=axes,
        stored=stored,
        pages=tuple(one.pages),
        photometric=int(first.photometric),
        bits=int(first.bitspersample) if isinstance(first.bitspersample, int) else int(first.bitspersample[0]),
        keep=3 if palette else colours,
        palette=palette,
        problems=problems,
    )


def _written_as_volume(file: TiffFile) -> bool:
    """Whether VoxGraft wrote it from a volume of three axes; one slice alone looks like a picture."""
    found: Any = file.shaped_metadata
    return bool(found) and isinstance(found[0], dict) and found[0].get(DIMS) == 3


def _check_values(page: TiffPage) -> None:
    if page.dtype is None or page.dtype.kind not in "uifb" or page.dtype.itemsize > 8:
        raise ValueError("its values are of a type that is not read; whole numbers and floats are")
    if int(page.photometric) not in _COLOURS:
        what = {5: "CMYK, made for printing", 8: "CIELab"}.get(int(page.photometric), "of a kind that is not read")
        raise ValueError(f"its colours are {what}; save it in RGB or grey")
    tag = page.tags.get(274)
    if tag is not None and tag.value not in (0, 1):
        raise ValueError(f"its rows are not stored from the top left (orientation {tag.value}); save it upright")


def _colours(page: TiffPage, samples: int) -> tuple[int, tuple[Problem, ...]]:
    """How many samples of a pixel are grey or colours, and what to say of the others."""
    extra = len(page.extrasamples)
    colours = samples - extra
    if int(page.photometric) in (RGB, YCBCR) and samples >= 3:
        colours = 3
    if colours < 1 or colours == samples:
        return samples, ()
    if any(int(kind) == 0 for kind in page.extrasamples) and int(page.photometric) not in (RGB, YCBCR):
        return samples, ()  # samples that are said to be no transparency are channels
    return colours, (Problem("alpha", "its transparency was left out", "repair"),)


def _palette(page: TiffPage) -> dict[int, Colour] | None:
    """The colours of a palette by number, in 8 bits; None where there is none, or it gives each number its grey."""
    if int(page.photometric) != PALETTE or page.colormap is None:
        return None
    colours = (np.asarray(page.colormap) >> 8).T
    plain = np.arange(len(colours))[:, None]
    if len(colours) == 256 and (colours == plain).all():
        return None
    return {number: (int(red), int(green), int(blue)) for number, (red, green, blue) in enumerate(colours)}
