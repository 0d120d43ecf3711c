"""Clean one NIfTI file: texts and extensions of the header go, geometry and voxels stay bit for bit."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft.plugin import atomic_write, free_memory

if TYPE_CHECKING:
    from .file import Job, Outcome, Settings

SUFFIXES = (".nii", ".nii.gz")
_LARGEST = 1 << 33
_HEAD, _COPIES = 1 << 12, 3
"""Bytes of a header's claim; more is refused before memory is asked for."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things stand in a header, in bytes, and how the numbers are written (nifti1.h, nifti2.h)."""

    size: int
    dims: tuple[int, str]
    bits: int
    offset: tuple[int, str]
    texts: tuple[tuple[int, int], ...]


_ONE = _Layout(348, (40, "8h"), 72, (108, "f"), ((4, 35), (148, 80), (228, 24), (328, 16)))
"""data_type, db_name, extents, session_error, regular; descrip; aux_file; intent_name."""
_TWO = _Layout(540, (16, "8q"), 14, (168, "q"), ((240, 80), (320, 24), (508, 16), (525, 15)))
"""descrip, aux_file, intent_name, unused_str."""


class Odd(ValueError):
    """No single NIfTI file, or a broken one; the sentence says why."""


def is_nifti(path: Path) -> bool:
    """By the file's name."""
    return path.name.lower().endswith(SUFFIXES)


def process(job: Job, settings: Settings) -> Outcome:
    """Clean a file. Whatever is wrong with it is told in the outcome.

    Raises:
        DataError: The target cannot be written.
    """
    from .file import Outcome

    packed = job.path.name.lower().endswith(".gz")
    stem = job.path.name[: -len(".nii.gz" if packed else ".nii")]
    name = f"nifti/{job.folder}/{settings.key.mark('stem', stem)}{job.suffix}.nii{'.gz' if packed else ''}"
    try:
        data = job.path.read_bytes()
        new = cleaned(unpacked(data) if packed else data)
    except Odd as error:
        return Outcome(job.mark, "failed", reason=str(error))
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        return Outcome(job.mark, "failed", reason=f"cannot be read ({type(error).__name__})")
    if settings.target is not None:
        with atomic_write(settings.target / name) as path:
            path.write_bytes(gzip.compress(new, 4, mtime=0) if packed else new)
    note = "NIfTI: texts of the header are removed; faces in scans of the head are not"
    return Outcome(job.mark, "written", name, notes=(note,))


def cleaned(data: bytes) -> bytes:
    """The bytes of a file without texts, extensions and anything behind the voxels.

    Raises:
        Odd: It is not a single NIfTI file, or has fewer voxels than it says.
    """
    start, length, layout, order = _voxels(data)
    if len(data) < start + length:
        raise Odd(f"is truncated: {max(0, len(data) - start):,} of {length:,} bytes of the voxels are there")
    head = bytearray(data[: layout.size])
    for at, size in layout.texts:
        head[at : at + size] = bytes(size)
    first = layout.size + 4  # four bytes say that no extension follows
    struct.pack_into(order + layout.offset[1], head, layout.offset[0], first)
    return bytes(head) + bytes(4) + data[start : start + length]


def unpacked(data: bytes) -> bytes:
    """A gzipped file's bytes up to the end of the voxels that its header promises, and its checksum compared there.

    Raises:
        Odd: It is not a single NIfTI file, or promises more than fits into memory.
        OSError, EOFError, zlib.error: It is damaged.
    """
    with gzip.open(io.BytesIO(data)) as stream:
        head = stream.read(_HEAD)
        start, length, _, _ = _voxels(head)
        if _COPIES * (start + length) > (free := free_memory()):
            raise Odd(f"promises {start + length:,} bytes, and {free:,} of memory are free")
        found = head + stream.read(max(0, start + length - len(head)))
        stream.read(1)  # behind the last byte gzip compares its checksum
        return found


def _voxels(data: bytes) -> tuple[int, int, _Layout, str]:
    """Where the voxels begin and how many bytes they are, and how the header is written.

    Raises:
        Odd: It is not a single NIfTI file, or its header makes no sense.
    """
    layout, order = _layout(data)
    (count, *sizes) = struct.unpack_from(order + layout.dims[1], data, layout.dims[0])
    (bits,) = struct.unpack_from(order + "h", data, layout.bits)
    (offset,) = struct.unpack_from(order + layout.offset[1], data, layout.offset[0])
    if not 1 <= count <= 7 or min(sizes[:count]) < 1 or bits < 1 or not layout.size <= offset < _LARGEST:
        raise Odd("has a header that makes no sense (dim, bitpix, vox_offset)")
    return int(offset), (math.prod(sizes[:count]) * bits + 7) // 8, layout, order


def _layout(data: bytes) -> tuple[_Layout, str]:
    for layout, magic, at in ((_ONE, b"n+1\0", 344), (_TWO, b"n+2\0", 4)):
        if len(data) >= layout.size and data[at : at + 4] == magic:
            for order in "<>":
                if struct.unpack_from(f"{order}i", data)[0] == layout.size:
                    return layout, order
    raise Odd("has the name of a NIfTI file, but is none in one piece")
