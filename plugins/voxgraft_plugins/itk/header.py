"""What a header of text says of an image, in terms that NRRD and MetaImage share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import Array, Problem, as_stored, spacing_of, spans_space

LONGEST_HEADER = 1 << 20
LPS = np.diag([-1.0, -1.0, 1.0])
"""From the coordinates of DICOM and ITK to RAS, and back."""
_SQUARE = 0.002
_LONGEST_AXIS = 1 << 31


class HeaderError(ValueError):
    """The text is not a header, or one that means no image that is read; the message does not name the file."""


@dataclass(frozen=True, slots=True)
class Body:
    """Where the voxels are and how they are stored.

    Attributes:
        path: The file that holds them.
        offset: The byte at which they begin; -1 where they are the last bytes of the file.
        skip: Lines and bytes to leave out at `offset`, of what is unpacked.
        packing: `raw`, `text`, `gzip`, `zlib` or `bzip2`.
        dtype: How a value is stored, byte order included.
        sizes: Along each axis, the fastest first.
    """

    path: Path
    offset: int
    packing: str
    dtype: np.dtype[Any]
    sizes: tuple[int, ...]
    skip: tuple[int, int] = (0, 0)

    @property
    def bytes(self) -> int:
        return math.prod(self.sizes, start=self.dtype.itemsize)


@dataclass(frozen=True, slots=True)
class Header:
    """An image as its header describes it.

    Attributes:
        space: Which of the axes of `body.sizes` lie in space, 2 or 3 of them; at most one other is longer than 1.
        affine: From voxel indices to RAS millimetres.
    """

    body: Body
    space: tuple[int, ...]
    affine: Array
    problems: tuple[Problem, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.body.sizes[axis] for axis in self.space)

    @property
    def channels(self) -> int:
        return int(np.prod([n for axis, n in enumerate(self.body.sizes) if axis not in self.space], dtype=np.int64))


def checked_sizes(values: list[int], count: int) -> tuple[int, ...]:
    """The lengths of the axes.

    Raises:
        HeaderError: There are not so many, or one is not a length.
    """
    if len(values) != count or not 1 <= count <= 6:
        raise HeaderError(f"its header gives {len(values)} lengths for {count} axes")
    if any(not 0 < n < _LONGEST_AXIS for n in values):
        raise HeaderError(f"its header gives the shape {tuple(values)}, which no image has")
    return tuple(values)


def checked_space(axes: list[int], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes in space.

    Raises:
        HeaderError: There are not 2 or 3, or several others are longer than 1.
    """
    others = [n for axis, n in enumerate(sizes) if axis not in axes and n > 1]
    if len(axes) not in (2, 3) or len(others) > 1:
        raise HeaderError(f"it has the shape {sizes}; 2 or 3 axes in space and one of channels are read")
    return tuple(axes)


def affine_of(columns: Array, origin: Array, dims: int) -> tuple[Array, tuple[Problem, ...]]:
    """The affine from the steps along the axes (in RAS millimetres, one a column), and what is doubtful about it.

    Args:
        columns: Shape (3, axes in space): the step along each axis, in millimetres.
        origin: The middle of the first voxel, in RAS millimetres.
        dims: 2 or 3, the axes in space of the image.

    Raises:
        HeaderError: It is not finite or does not span space.
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    if not np.isfinite(affine).all():
        raise HeaderError("its header places the voxels by values that are not finite numbers")
    if not spans_space(affine):
        raise HeaderError("its axes do not span space, or its voxels have no size")
    unit = affine[:3, :3] / np.array(spacing_of(affine))
    cosine = float(np.abs(np.triu(unit.T @ unit, 1))[:dims, :dims].max())
    if cosine <= _SQUARE:
        return affine, ()
    degrees = float(np.degrees(np.arcsin(min(cosine, 1.0))))
    return affine, (Problem("sheared", f"its axes are up to {degrees:.3g} degrees off a right angle", "warning"),)


def beside(header: Path, name: str) -> Path:
    """The file of voxels that a header names.

    Raises:
        HeaderError: It is outside the header's folder, or is not there.
    """
    part = Path(name.replace("\\", "/"))
    if not name or not name.isprintable() or part.is_absolute() or ".." in part.parts or ":" in part.parts[0]:
        raise HeaderError("its voxels are said to be in a file outside its folder, which is not opened")
    path = as_stored(header.parent / part)
    if not path.is_file():
        raise HeaderError(f"its voxels are in a second file {part.name}, which is not beside it")
    return path


def numbers(text: str, kind: type = float) -> list[Any]:
    """The numbers of a field.

    Raises:
        HeaderError: Something else stands there.
    """
    try:
        return [kind(part) for part in text.replace(",", " ").split()]
    except (ValueError, OverflowError):
        raise HeaderError(f"its header has {text[:40]!r} where numbers belong") from None
