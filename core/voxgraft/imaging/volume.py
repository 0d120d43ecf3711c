"""Volumes: voxels with their geometry, where they are read from, and what is known before they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from ..support.texts import Shown


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image is: a file or a folder, and which of the images in it.

    Attributes:
        files: The files it is read from, where they are known: nothing else in the folder is then looked at. Several
            objects that hold structures are read together.
        structures: For a mask whose structures have names of their own (DICOM SEG, RTSTRUCT): pairs of a name in the
            object and the name of the data set's label it stands for; structures without a pair are left out.
    """

    path: Path
    series: str | None = None
    files: tuple[Path, ...] = ()
    structures: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.path}#{self.series}" if self.series else str(self.path)

    @property
    def parts(self) -> tuple[ImageRef, ...]:
        """Everything that is read: itself, or the parts of a mask that lies in several files."""
        return (self,)


@dataclass(frozen=True, slots=True)
class FoundRegion(ImageRef):
    """Where a case counts, as its modality finds it in the image at `path`; there is no file of it.

    Attributes:
        modality: The modality's name and options, as JSON.
    """

    modality: str = ""


@dataclass(frozen=True, slots=True)
class MaskRef(ImageRef):
    """A mask that lies in several files; `path` is the folder or the first of them, for messages.

    Attributes:
        named: The parts by the name of a structure or of a rater.
        rule: What the parts are: one structure each, or raters' masks that are brought together by a rule.
    """

    named: tuple[tuple[str, ImageRef], ...] = ()
    rule: Literal["structures", "majority", "staple"] = "structures"

    @property
    def parts(self) -> tuple[ImageRef, ...]:
        return tuple(reference for _, reference in self.named)


Array = NDArray[Any]

NO_SPACING = "no-spacing"
"""The code by which readers say that a header does not tell how large a voxel is, and that 1 mm is assumed."""

Colour = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with an image or a data set.

    Attributes:
        code: A stable word to script against, such as `missing-slice`.
        message: One plain sentence.
        severity: An `error` keeps the image from being read; a `warning` or a `repair` is recorded.
    """

    code: str
    message: str
    severity: Literal["error", "warning", "repair"] = "error"


@dataclass(frozen=True, slots=True)
class Item:
    """One image as its header describes it; no voxel has been read.

    Attributes:
        path: The file, or the folder that holds the files of a series.
        reader: The name of the reader that found it.
        shape: Voxels along each spatial axis (i, j[, k]); index i runs fastest in the file.
        affine: 4x4, from voxel indices (i, j, k) to RAS millimetres.
        channels: 1, or the number of channels, time points or colours.
        modality: The DICOM modality (`CT`, `MR` ...), where the file says it.
        series: The SeriesInstanceUID, or another name of the image inside its path.
        description: What the scanner called it.
        patient: An identifier of the patient as the file states it; never logged.
        files: The files to read, in the order of the slices.
        facts: What the reader wants to find again when it reads (plain values only).
        kind: `image`, or `structures` for an object that holds named structures of another image (DICOM SEG,
            RTSTRUCT); it is never segmented, and is read as masks through `StructureReader.structures`.
        palette: Where the file holds numbers of colours, these colours by their numbers (none where the reader cannot
            say them); None for all others. As an image it is read in colours or greys, as a mask by its numbers,
            through `PaletteReader.numbers`.
        colours: Its channels are red, green and blue.
        archive: What finds it in the archive it came from: `accession`, `study_date`. It leads to the patient: shown in
            pages for whoever has the images, kept in no ledger, log, index or tracker.
        scaling: Slope and intercept that made the voxels of stored whole numbers; None where none did.
    """

    path: Path
    reader: str
    shape: tuple[int, ...]
    affine: Array
    channels: int = 1
    modality: str | None = None
    series: str | None = None
    description: str | None = None
    patient: str | None = None
    problems: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["image", "structures"] = "image"
    palette: Mapping[int, Colour] | None = None
    colours: bool = False
    scaling: tuple[float, float] | None = None
    archive: Mapping[str, str] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between neighbouring voxels along each spatial axis."""
        return spacing_of(self.affine)[: len(self.shape)]

    @property
    def sized(self) -> bool:
        """Whether the file says how large a voxel is; lengths, areas and volumes would be made up where it does not."""
        return all(problem.code != NO_SPACING for problem in self.problems)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep it from being read."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


@dataclass(frozen=True, eq=False)
class Volume(Shown):
    """Voxels with their geometry. A notebook shows its middle slices.

    Attributes:
        array: Shape (i, j[, k]) for one channel, (channel, i, j[, k]) for several.
        affine: 4x4, from voxel indices (i, j, k) to RAS millimetres.
        dims: The number of spatial axes, 2 or 3; by default the axes of the array, at most 3.
        item: The header it was read from; writers need it to write back into the same study.

    Examples:
        >>> volume = vg.Volume(np.zeros((512, 512, 40), np.int16), np.diag([0.7, 0.7, 5.0, 1.0]))
        >>> volume.shape, volume.spacing, volume.channels
        ((512, 512, 40), (0.7, 0.7, 5.0), 1)
        >>> vg.Volume(np.zeros((2, 64, 64, 40)), np.eye(4)).channels
        2
    """

    array: Array
    affine: Array
    dims: int = 0
    item: Item | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        dims = self.dims or min(array.ndim, 3)
        if dims not in (2, 3) or array.ndim not in (dims, dims + 1):
            raise ValueError(f"an array of shape {array.shape} is not a volume of {dims} spatial axes")
        affine = checked_affine(self.affine)
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "affine", affine)

    def __repr__(self) -> str:
        steps = " x ".join(f"{step:.4g}" for step in self.spacing)
        channels = f", {self.channels} channels" if self.channels > 1 else ""
        return f"Volume of {times(self.shape)} voxels, {steps} mm{channels}, {self.array.dtype}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each spatial axis."""
        return tuple(self.array.shape[-self.dims :])

    @property
    def channels(self) -> int:
        return 1 if self.array.ndim == self.dims else int(self.array.shape[0])

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between neighbouring voxels along each spatial axis."""
        return spacing_of(self.affine)[: self.dims]

    @property
    def sized(self) -> bool:
        """Whether it is known how large a voxel is: unless it was read from a file that does not say so."""
        return self.item is None or self.item.sized

    @property
    def voxel_ml(self) -> float:
        """Millilitres of one voxel (of a 3D volume).

        Examples:
            >>> mask = vg.Volume(np.ones((10, 10, 10), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]))
            >>> float(mask.array.sum() * mask.voxel_ml)
            2.0
        """
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def with_array(self, array: ArrayLike) -> Volume:
        """The same geometry around other voxels.

        Examples:
            >>> scan = vg.Volume(np.array([[-1000, 40], [300, 20]]), np.eye(4))
            >>> scan.with_array(scan.array > 100).array.tolist()
            [[False, False], [True, False]]
        """
        return replace(self, array=np.asarray(array))


def first_channel(volume: Volume) -> Volume:
    """The volume with its first channel alone, shape (i, j[, k])."""
    return volume.with_array(volume.array.reshape(-1, *volume.shape)[0])


def as_volume(
    value: Any, spacing: Sequence[float] | None = None, like: Volume | None = None, dims: int | None = None
) -> Volume:
    """A volume as it is, or an array with the grid of another volume, or with a spacing.

    Args:
        value: A volume, or an array (i, j[, k]) or (channel, i, j[, k]).
        spacing: Millimetres between the voxels of an array, whose axes then run to right, front and head.
        like: The volume whose grid an array has; it goes before `spacing`.
        dims: The number of spatial axes of an array, where it is known.

    Raises:
        UsageError: It is neither, or nothing says how large the voxels of an array are.

    Examples:
        >>> as_volume(np.zeros((4, 4, 4)), spacing=(1, 1, 2)).spacing
        (1.0, 1.0, 2.0)
    """
    if isinstance(value, Volume):
        return value
    if not isinstance(value, np.ndarray):
        raise UsageError(f"{type(value).__name__}: is not an image; give a Volume, or an array with spacing=(..., ...)")
    try:
        if like is not None:
            return Volume(value, like.affine, dims=like.dims)
        if spacing is None:
            raise UsageError("an array does not say how large its voxels are; add spacing=, in mm, or make it a Volume")
        try:
            steps = [float(step) for step in spacing]
        except (TypeError, ValueError):
            steps = []  # one number says nothing of the other axes
        if len(steps) not in (2, 3) or len(steps) != (dims or len(steps)) or not all(0 < step < 1e6 for step in steps):
            raise UsageError(f"spacing={spacing!r}: give the voxel size along each axis in mm, such as (0.7, 0.7, 5)")
        return Volume(value, np.diag([*steps, *[1.0] * (4 - len(steps))]), dims=len(steps))
    except ValueError as error:
        raise UsageError(str(error)) from None


def checked_affine(affine: ArrayLike) -> Array:
    """A finite, invertible 4x4 affine in double precision."""
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"the affine has shape {matrix.shape}, not (4, 4)")
    if not np.isfinite(matrix).all():
        raise ValueError("the affine holds values that are not finite numbers")
    if not spans_space(matrix):
        raise ValueError("the affine is singular: its axes do not span space")
    return matrix


def spans_space(affine: Array) -> bool:
    """Whether the axes of a finite affine have lengths and do not lie in one plane, however small voxels are."""
    lengths = np.array(spacing_of(affine))
    if lengths.min() < 1e-9:  # a picometre is not a voxel
        return False
    return abs(float(np.linalg.det(affine[:3, :3] / lengths))) > 1e-6


def spacing_of(affine: Array) -> tuple[float, float, float]:
    """Millimetres between neighbouring voxels along i, j and k: the lengths of the affine's columns.

    Examples:
        >>> spacing_of(np.diag([-0.7, 0.7, 5.0, 1.0]))
        (0.7, 0.7, 5.0)
    """
    x, y, z = (float(v) for v in np.sqrt((np.asarray(affine, dtype=np.float64)[:3, :3] ** 2).sum(0)))
    return x, y, z


def millimetres_apart(affine: Array, other: Array, shape: tuple[int, ...]) -> float:
    """The largest distance between corresponding corner voxels of two grids of one shape, given by their affines.

    Args:
        affine, other: 4x4, from voxel indices to millimetres.
        shape: Voxels along i, j[, k] of both grids.
    """
    ends = [(0, n - 1) for n in (*shape, 1)[:3]]
    corners = np.stack(np.meshgrid(*ends, [1], indexing="ij"), axis=-1).reshape(-1, 4).astype(np.float64)
    return float(np.linalg.norm(corners @ (affine - other)[:3].T, axis=1).max())


def times(shape: Sequence[int]) -> str:
    """The size of an array for people: `256x256x40`."""
    return "x".join(map(str, shape))


def same_grid(volume: Volume | Item, other: Volume) -> bool:
    """Whether no corner is further apart than 1 % of the smallest spacing, or 0.01 mm."""
    if volume.shape != other.shape:
        return False
    return millimetres_apart(volume.affine, other.affine, volume.shape) <= max(0.01, 0.01 * min(volume.spacing))


@dataclass(frozen=True, slots=True)
class Align:
    """How the channels of a case come onto one grid.

    Attributes:
        onto: The channel whose grid the case has, counted from 0; the others are interpolated linearly onto it.
        across: `frame` brings only channels together that share a DICOM frame of reference, so that the scanner vouches
            for their positions; `any` takes the word of the user.
    """

    onto: int = 0
    across: Literal["frame", "any"] = "frame"
