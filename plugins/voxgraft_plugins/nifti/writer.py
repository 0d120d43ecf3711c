"""The NIfTI writer: one gzip member, geometry in sform and qform, read back before the file takes its name."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.plugin import Array, DataError, Volume, mask_values

from .compress import write_gzip
from .header import HeaderError, parse_header
from .options import NiftiWriterOptions
from .order import in_file_order
from .voxels import read_head

if TYPE_CHECKING:
    from voxgraft.plugin import Labels

SCANNER = 1
TOLERANCE = 1e-3
"""Millimetres by which a voxel may lie off its place after writing."""
MILLIMETRES, WITH_SECONDS = 2, 8


class NiftiWriter:
    """Writes `.nii` and `.nii.gz`; equal volumes give equal bytes."""

    def __init__(self, options: NiftiWriterOptions) -> None:
        self._level = options.level

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write a volume as it stands; channels become the fourth axis, of a 2D image the vector axis.

        Images keep their dtype (bool becomes uint8, float16 float32). Masks become uint8, or uint16 where a value is
        above 255.

        Raises:
            DataError: The voxels fit no NIfTI datatype, or what was written does not lie where the volume lies.
        """
        array = mask_values(volume.array, labels, target) if labels is not None else _as_image(volume.array, target)
        header = _header(volume, array.dtype)
        with target.open("wb") as file:
            parts = chain([memoryview(header)], in_file_order(array, volume.dims))
            if target.name.lower().endswith(".gz"):
                write_gzip(file, parts, self._level)
            else:
                for part in parts:
                    file.write(part)
        _check(target, volume, array.dtype)


def _as_image(array: Array, target: Path) -> Array:
    """The voxels in a dtype that every NIfTI reader knows."""
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype in (np.int64, np.uint64):
        lowest, highest = (int(array.min()), int(array.max())) if array.size else (0, 0)
        if not -(1 << 31) <= lowest <= highest < 1 << 31:
            raise DataError(f"{target}: values from {lowest} to {highest} fit no integer type that NIfTI readers share")
        return array.astype(np.int32)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise DataError(f"{target}: voxels of type {array.dtype} have no NIfTI datatype")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _header(volume: Volume, dtype: np.dtype[Any]) -> bytes:
    """The 352 bytes before the voxels (544 where an axis is longer than NIfTI-1 can say)."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    shape = volume.shape
    if volume.channels > 1:  # the fourth axis of a volume; the vector axis of a 2D image
        shape = (*shape, volume.channels) if volume.dims == 3 else (*shape, 1, 1, volume.channels)
    header = Nifti1Header() if max(shape) < 1 << 15 else Nifti2Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    known = volume.item.facts.get("code", 0) if volume.item and volume.item.reader == "nifti" else 0
    code = int(known) if 0 < int(known) <= 5 else SCANNER
    header.set_sform(volume.affine, code)
    header.set_qform(volume.affine, code)
    if len(shape) == 5:
        header.set_intent("vector")
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["xyzt_units"] = MILLIMETRES | WITH_SECONDS if volume.channels > 1 else MILLIMETRES
    size = len(header.binaryblock) + 4
    header["vox_offset"] = size
    header["magic"] = b"n+1" if size == 352 else b"n+2\0\r\n\x1a\n"
    return bytes(header.binaryblock) + b"\0\0\0\0"


def _check(target: Path, volume: Volume, dtype: np.dtype[Any]) -> None:
    """Read the header back and hold it against the volume.

    Raises:
        DataError: The file says another shape, dtype or place (places may differ by `TOLERANCE`, for rounding).
    """
    try:
        header = parse_header(read_head(target))
    except HeaderError as error:
        raise DataError(f"{target}: what was written cannot be read back: {error}") from None
    if (
        header.shape != volume.shape
        or header.volumes != volume.channels
        or header.dtype != dtype
        or header.affine is None
    ):
        raise DataError(f"{target}: the shape or type that was written is not the volume's")
    corner = np.array([*(n - 1 for n in (*volume.shape, 1)[:3]), 1.0])
    off = float((np.abs(header.affine - volume.affine)[:3] @ corner).max())
    if off > TOLERANCE:
        raise DataError(
            f"{target}: its voxels would lie up to {off:.3g} mm off; the affine does not fit NIfTI's numbers"
        )
