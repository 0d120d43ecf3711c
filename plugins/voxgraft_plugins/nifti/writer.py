"""The NIfTI writer: one gzip member, geometry in sform and qform, read back before the file takes its name.

Voxels go in the order of a file, first axis fastest, from arrays in any order in memory; gzip works in blocks on
several threads, and makes one member that every reader takes.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import numpy as np
from annotated_types import Ge, Le

from voxgraft.plugin import Array, DataError, Options, Volume, mask_values

from .header import HeaderError, parse_header
from .reader import read_head

if TYPE_CHECKING:
    from voxgraft.plugin import Labels

SCANNER = 1
TOLERANCE = 1e-3
"""Millimetres by which a voxel may lie off its place after writing."""
MILLIMETRES, WITH_SECONDS = 2, 8


class NiftiWriterOptions(Options):
    """Options of the NIfTI writer."""

    level: Annotated[int, Ge(0), Le(3)] = 1
    """Compression level, from 0 (fastest) to 3 (smallest)."""


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


SLAB = 1 << 22
"""Bytes of a piece: large enough to compress well, small enough to stay in a processor's cache."""
THICK = 1 << 26
"""Bytes that are turned into the file's order at once; a line of cache is then read once and used whole."""
THREADS = 2
_MODES = {1: "L", 4: "I"}
"""The pictures of Pillow whose pixels have so many bytes."""


def in_file_order(array: Array, dims: int) -> Iterator[memoryview]:
    """The bytes of (channel, i, j[, k]) or (i, j[, k]), i fastest, then j, then k, then the channel.

    The pieces are cut in the same places whatever the array's order in memory.
    """
    for channel in array if array.ndim > dims else (array,):
        planes = channel.T
        step = max(1, SLAB // max(1, planes[:1].nbytes))
        thick = step * max(1, THICK // max(1, step * planes[:1].nbytes))
        for start in range(0, len(planes), thick):
            slab = _contiguous(planes[start : start + thick])
            for first in range(0, len(slab), step):
                yield slab[first : first + step].reshape(-1).view(np.uint8).data


def _contiguous(planes: Array) -> Array:
    """The planes (k, j, i) with i fastest; numpy's own copy is slow where it would read one byte of each cache line."""
    if planes.flags.c_contiguous or planes.ndim != 3 or planes.dtype.itemsize not in _MODES:
        return np.ascontiguousarray(planes)
    if planes.nbytes < 1 << 20 or abs(planes.strides[2]) <= abs(planes.strides[0]):
        return np.ascontiguousarray(planes)
    turned = np.empty(planes.shape, planes.dtype)
    rows = range(planes.shape[1])
    chunks = [rows[start : start + 64] for start in range(0, len(rows), 64)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(_turn_rows, planes, turned), chunks))
    return turned


def _turn_rows(planes: Array, turned: Array, rows: range) -> None:
    """For each j transpose (i, k) to (k, i) by Pillow, which goes through a picture in blocks that fit the cache."""
    from PIL import Image

    mode = _MODES[planes.dtype.itemsize]
    kind = np.uint8 if mode == "L" else np.int32
    for j in rows:
        lines = np.ascontiguousarray(planes[:, j, :].T).view(kind)
        size = (lines.shape[1], lines.shape[0])
        picture = Image.frombuffer(mode, size, lines, "raw", mode, 0, 1)
        turned[:, j, :] = np.asarray(picture.transpose(Image.Transpose.TRANSPOSE)).view(planes.dtype)


_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""No name and no time: they would make equal masks differ in their hashes."""


def write_gzip(file: BinaryIO, parts: Iterable[memoryview], level: int) -> None:
    """Compress the parts one by one, each a block of its own that ends on a byte (the way of pigz), and join them.

    Equal parts give equal bytes, however many threads there are. The parts are taken one after another, a few ahead of
    what is written.

    Args:
        file: Open for writing bytes.
        parts: The bytes in their order.
        level: 0 (fastest) to 3 (smallest), as isal counts.
    """
    from isal import isal_zlib

    def compressed(part: memoryview) -> bytes:
        deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
        return bytes(deflate.compress(part) + deflate.flush(isal_zlib.Z_SYNC_FLUSH))

    file.write(_HEADER)
    length = check = 0
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[bytes]] = deque()
        for part in parts:
            waiting.append(pool.submit(compressed, part))
            check = isal_zlib.crc32(part, check)
            length += part.nbytes
            if len(waiting) > 2 * THREADS:
                file.write(waiting.popleft().result())
        while waiting:
            file.write(waiting.popleft().result())
    file.write(b"\x03\0")  # an empty last block
    file.write(struct.pack("<II", check, length % (1 << 32)))
