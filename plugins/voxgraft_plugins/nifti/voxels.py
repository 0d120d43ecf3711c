"""The bytes of a NIfTI file: its header, whether it can hold its voxels, and the voxels straight into one array."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip, isal_zlib

from voxgraft.volume import Array

from .header import HEADER_BYTES, Header, HeaderError

GZIP = b"\x1f\x8b"
BLOCK = 1 << 24
DEFLATE_LIMIT = 1040
"""No deflate stream unpacks to more than about 1032 times its length."""
DAMAGED: Any = (EOFError, gzip.BadGzipFile, isal_zlib.error)


def read_head(file: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    with _opened(file) as stream:
        return bytes(stream.read(HEADER_BYTES))


def data_file(file: Path, header: Header) -> Path:
    """Where the voxels are: the file itself, or the `.img` beside a `.hdr`."""
    if not header.pair:
        return file
    stem = file.name[: -len(".hdr")] if file.name.lower().endswith(".hdr") else file.stem
    for name in (f"{stem}.img", f"{stem}.img.gz"):
        if file.with_name(name).is_file():
            return file.with_name(name)
    raise HeaderError(f"its voxels are in a second file {stem}.img, which is not beside it")


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == GZIP


def _opened(file: Path) -> Any:
    return igzip.open(file, "rb") if _is_gzip(file) else file.open("rb")


def shortfall(file: Path, header: Header) -> str:
    """Why the file cannot hold the voxels that its header promises; empty where it can.

    A gzip file ends with the length of what it holds. Only where that is not the length expected (a truncated file, but
    also one of several members or with something behind the voxels) is it unpacked to see.
    """
    size = file.stat().st_size
    needed = header.offset + header.voxel_bytes
    if not _is_gzip(file):
        return "" if size >= needed else f"it has {size} bytes and its header promises {needed}; the file is truncated"
    if needed > size * DEFLATE_LIMIT + BLOCK:
        return f"its header promises {needed} bytes, which {size} bytes of gzip cannot hold"
    with file.open("rb") as stream:
        stream.seek(max(0, size - 4))
        if int.from_bytes(stream.read(4), "little") == needed % (1 << 32):
            return ""
    length = 0
    with _opened(file) as unpacked, suppress(*DAMAGED):
        while length < needed and (block := unpacked.read(min(BLOCK, needed - length))):
            length += len(block)
    return "" if length >= needed else f"its gzip stream ends after {length} of {needed} bytes; the file is truncated"


def read_voxels(file: Path, header: Header) -> Array:
    """The stored values in one flat array of the file's dtype.

    Raises:
        HeaderError: The file is shorter than its header promises.
    """
    count = header.voxel_bytes // header.dtype.itemsize
    if short := _claim(file, header):
        raise HeaderError(short)
    if not _is_gzip(file):
        flat = np.fromfile(file, header.dtype, count, offset=header.offset)
        if flat.size != count:
            raise HeaderError("it became shorter while it was read")
        return flat
    flat = np.empty(count, header.dtype)
    room = flat.view(np.uint8).data
    with igzip.open(file, "rb") as stream:
        _skip(stream, header.offset)
        done = 0
        while done < len(room):
            got = stream.readinto(room[done : done + BLOCK])
            if not got:
                raise HeaderError(f"its gzip stream ends after {done} of {len(room)} bytes of voxels")
            done += got
        # Reading to the end is what makes gzip compare its checksum; a little padding is common, more is not looked at.
        stream.read(BLOCK)
    return flat


def _claim(file: Path, header: Header) -> str:
    """Refuse to reserve memory for voxels that a file of this size cannot hold."""
    size = file.stat().st_size * (DEFLATE_LIMIT if _is_gzip(file) else 1)
    needed = header.offset + header.voxel_bytes
    return f"its header promises {needed} bytes, which are not in the file" if needed > size + BLOCK else ""


def _skip(stream: Any, count: int) -> None:
    while count > 0:
        block = stream.read(min(count, BLOCK))
        if not block:
            raise HeaderError("its gzip stream ends before the voxels")
        count -= len(block)
