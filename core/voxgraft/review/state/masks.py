"""Masks as they come from the page and lie on disk: bounded before they are unpacked, and in the scan's own grid."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...imaging.volume import Array, millimetres_apart

HEADER = 2**16
"""Bytes that may stand before the voxels: header and extensions."""
WIDEST = 4
"""Bytes of a voxel of the widest type that is taken."""
LARGEST = 2**33
"""Bytes of the largest mask that is read from disk."""
PACKED = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class Mask:
    """Labels of a scan.

    Attributes:
        array: Whole numbers (i, j, k) in the order of NIfTI files, the first axis fastest.
        affine: 4x4, from voxel indices to RAS millimetres.
    """

    array: Array
    affine: Array


def largest(shape: tuple[int, ...]) -> int:
    """Bytes of the largest NIfTI file of a mask of this shape, unpacked."""
    return math.prod(shape) * WIDEST + HEADER


def grid_of(path: Path) -> tuple[tuple[int, ...], Array]:
    """Shape (i, j, k) and affine of a mask file, from its header alone.

    Raises:
        DataError: It cannot be read.
    """
    import nibabel

    try:
        image: Any = nibabel.load(path)
        shape = tuple(int(n) for n in image.shape)
        return (*shape, 1)[:3] if len(shape) == 2 else shape, np.asarray(image.affine, np.float64)
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # nibabel has many errors for damaged files
        raise DataError(f"{path.name}: is not a mask: {' '.join(str(error).split())[:200]}") from error


def parsed(data: bytes, like: Mask | None) -> Mask:
    """A mask from the bytes of a NIfTI file, packed with gzip or not.

    Args:
        like: The mask whose grid and type it must have; None takes any, unpacked to 8 GB at most.

    Raises:
        DataError: It is no such mask; the message says in one sentence what is wrong.
    """
    most = largest(like.array.shape) if like is not None else LARGEST
    raw = unpacked(data, most) if data[:2] == PACKED else data
    if len(raw) > most:
        raise DataError(f"the mask is larger than the {most} bytes that a mask of this scan can have")
    array, affine = _voxels(raw)
    if like is None:
        return Mask(array, affine)
    check_grid(array, affine, like)
    same = array.astype(like.array.dtype, order="K", copy=False)
    if array.dtype != same.dtype and not np.array_equal(array, same):
        raise DataError(f"the mask holds values that belong to no structure (they do not fit into {same.dtype})")
    return Mask(same, like.affine)


def check_values(array: Array, known: Collection[int]) -> None:
    """Refuse labels that nobody knows.

    Args:
        array: Labels.
        known: The values of structures; 0, the background, always is one.

    Raises:
        DataError: There is another.
    """
    strange = [value for value in np.unique(array).tolist() if value and value not in known]
    if strange:
        raise DataError(f"the mask holds the value {strange[0]}, which belongs to no structure of this model")


def unpacked(data: bytes, most: int) -> bytes:
    """Gzipped bytes, unpacked to `most` bytes at most.

    Raises:
        DataError: They are damaged, or would be more.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        raw = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise DataError(f"the mask is damaged: {error}") from error
    if len(raw) > most:
        raise DataError(f"the mask unpacks to more than the {most} bytes that a mask of this scan can have")
    if not unpacker.eof:
        raise DataError("the mask is incomplete: its gzip stream has no end")
    return raw


def _voxels(raw: bytes) -> tuple[Array, Array]:
    """Voxels (i, j, k) and affine of a NIfTI file in memory; nothing is copied."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError

    sizes = {348: Nifti1Header, 540: Nifti2Header}
    kind = next((kind for size, kind in sizes.items() if size in _first_number(raw)), None)
    if kind is None or len(raw) < kind.sizeof_hdr + 4:
        raise DataError("the mask is not a NIfTI file")
    try:
        header: Any = kind(raw[: kind.sizeof_hdr], check=True)
        shape = tuple(int(n) for n in header.get_data_shape())
        dtype: np.dtype[Any] = header.get_data_dtype()
        affine = np.asarray(header.get_best_affine(), np.float64)
        offset = int(header.get_data_offset())
        scaling = header.get_slope_inter()
    except (HeaderDataError, ValueError, OverflowError, TypeError) as error:
        raise DataError(f"the mask's header is damaged: {' '.join(str(error).split())[:200]}") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 3 or min(shape) < 1:
        raise DataError(f"a mask has three axes, this one has {len(shape)}")
    shape = (*shape, 1)[:3]
    if dtype.kind not in "ui" or dtype.itemsize > WIDEST:
        raise DataError(f"a mask holds whole numbers of up to {WIDEST} bytes, this one is of type {dtype}")
    if scaling not in ((None, None), (1.0, 0.0), (1.0, None)):
        raise DataError("the header scales the mask's values; a mask has to store the labels themselves")
    number = math.prod(shape)
    if offset < kind.sizeof_hdr or offset > HEADER or len(raw) < offset + number * dtype.itemsize:
        raise DataError("the mask is incomplete: it has fewer voxels than its header says")
    return np.frombuffer(raw, dtype, number, offset).reshape(shape, order="F"), affine


def _first_number(raw: bytes) -> tuple[int, int]:
    return int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")


def check_grid(array: Array, affine: Array, like: Mask) -> None:
    """Refuse a mask of another grid.

    Args:
        array: Its voxels, (i, j, k).
        affine: Where they lie.
        like: The mask whose grid is meant.

    Raises:
        DataError: It has another shape, or lies elsewhere.
    """
    if array.shape != like.array.shape:
        shapes = ["x".join(map(str, shape)) for shape in (array.shape, like.array.shape)]
        raise DataError(f"the mask has {shapes[0]} voxels, and the scan {shapes[1]}")
    if not np.isfinite(affine).all():
        raise DataError("the mask's affine holds values that are not finite numbers")
    apart = millimetres_apart(affine, like.affine, array.shape)
    smallest = float(np.sqrt((like.affine[:3, :3] ** 2).sum(0)).min())
    if apart > max(0.01, 0.01 * smallest):
        raise DataError(f"the mask lies up to {apart:.3g} mm off the scan's grid")
