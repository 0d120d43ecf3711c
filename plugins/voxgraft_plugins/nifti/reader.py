"""The NIfTI reader: headers without voxels, whether a file can hold its voxels, and voxels straight into the array they
stay in."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip, isal_zlib

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume, free_memory

from .header import HEADER_BYTES, Header, HeaderError, parse_header


class NiftiReader:
    """Reads a NIfTI file as it is: axes in the file's order (i, j, k), integers kept, scaled voxels as float32."""

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe each file from its header; a fourth axis becomes channels.

        The two files of a pair, `.hdr` and `.img`, are one item.
        """
        headers = {header.path: header for header in map(_describe, files)}
        return list(headers.values())

    def read(self, item: Item) -> Volume:
        """Read the voxels: (i, j[, k]), or (channel, i, j[, k]); the first spatial axis is contiguous in memory.

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            header = parse_header(read_head(item.path), analyze=of_analyze(item.path))
            if header.shape != item.shape or header.affine is None:
                raise HeaderError("it has changed since it was looked at")
            voxels = read_voxels(data_file(item.path, header), header)
        except HeaderError as error:
            raise BadImage(item.path, str(error)) from None
        except DAMAGED as error:
            raise BadImage(item.path, _damage(error)) from error
        except OSError as error:
            raise BadImage(item.path, f"it cannot be read: {error.strerror or error}") from error
        return Volume(_arranged(voxels, header), header.affine, dims=len(header.shape), item=item)


def _describe(file: Path) -> Item:
    """The item of one file; what is wrong with it is among its problems."""
    try:
        file = header_file(file)
        header = parse_header(read_head(file), analyze=of_analyze(file))
        data = data_file(file, header)
        most = room_for(data, header)
    except HeaderError as error:
        return _unreadable(file, str(error))
    except DAMAGED as error:
        return _unreadable(file, _damage(error))
    except OSError as error:
        return _unreadable(file, f"it cannot be read: {error.strerror or error}")
    problems = [Problem(code, message, "warning") for code, message in header.warnings]
    if header.fault:
        problems.append(Problem("bad-affine", header.fault))
    if most.short:
        problems.append(Problem("truncated", most.short))
    if most.surplus >= PADDING:
        text = "bytes follow the voxel data that its header promises; check that the header is right"
        problems.append(Problem("surplus", f"{most.surplus} or more {text}", "warning"))
    return Item(
        path=file,
        reader="nifti",
        shape=header.shape,
        affine=np.eye(4) if header.affine is None else header.affine,
        channels=header.volumes * header.colours,
        problems=tuple(problems),
        files=(file, data) if header.pair else (file,),
        facts={"affine": header.source, "code": header.code, "dtype": header.dtype.name},
        colours=header.colours > 1,
        scaling=(header.slope, header.inter)
        if header.dtype.kind in "iu" and (header.slope, header.inter) != (1.0, 0.0)
        else None,
    )


def _unreadable(file: Path, reason: str) -> Item:
    return Item(file, "nifti", (), np.eye(4), problems=(Problem("unreadable", reason),), files=(file,))


def _damage(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "its gzip stream ends too early; the file is truncated, copy it again"
    return "its gzip stream is damaged; copy the file again"


def _arranged(flat: Array, header: Header) -> Array:
    """Stored values as (i, j[, k]) or (channel, i, j[, k]), in native byte order, scaled if the header says so."""
    if not flat.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(flat.dtype.newbyteorder("="))
    flat = _scaled(flat, header.slope, header.inter)
    if header.colours > 1:
        return flat.reshape((header.colours, *header.shape), order="F")
    if header.volumes == 1:
        return flat.reshape(header.shape, order="F")
    return np.moveaxis(flat.reshape((*header.shape, header.volumes), order="F"), -1, 0)


def _scaled(flat: Array, slope: float, inter: float) -> Array:
    if (slope, inter) == (1.0, 0.0):
        return flat.astype(np.float32) if flat.dtype == np.float64 else flat
    if flat.dtype.itemsize > 2 and flat.dtype != np.float32:  # float32 alone would round before the scaling
        return (flat * np.float64(slope) + inter).astype(np.float32)
    scaled = flat.astype(np.float32, copy=False)
    scaled *= np.float32(slope)
    scaled += np.float32(inter)
    return scaled


GZIP = b"\x1f\x8b"
BLOCK = 1 << 24
PADDING = 4096
"""More bytes than this behind the voxels are worth a word."""
DEFLATE_LIMIT = 1040
"""No deflate stream unpacks to more than about 1032 times its length."""
DAMAGED: Any = (EOFError, gzip.BadGzipFile, isal_zlib.error)


def read_head(file: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    if not _is_gzip(file):
        with file.open("rb") as stream:
            return stream.read(HEADER_BYTES)
    head = b""
    for block in _unpacked(file, 4096):
        head += block[:HEADER_BYTES]
        if len(head) >= HEADER_BYTES:
            break
    return head[:HEADER_BYTES]


def header_file(file: Path) -> Path:
    """The header of an image: the file itself, or the `.hdr` beside an `.img`.

    Raises:
        HeaderError: There is none beside it.
    """
    if not (part := _PAIR.search(file.name)) or part["kind"].lower() != "img":
        return file
    return _beside(file, "hdr", "its header is in a second file")


def data_file(file: Path, header: Header) -> Path:
    """Where the voxels are: the file itself, or the `.img` beside a `.hdr`.

    Raises:
        HeaderError: There is none beside it.
    """
    return _beside(file, "img", "its voxels are in a second file") if header.pair else file


def of_analyze(file: Path) -> bool:
    """Whether the name of a header may be that of an Analyze image."""
    return _PAIR.search(file.name) is not None


_PAIR = re.compile(r"\.(?P<kind>hdr|img)(\.gz)?$", re.IGNORECASE)


def _beside(file: Path, kind: str, what: str) -> Path:
    """The other file of a pair, whatever the case of its ending."""
    stem = _PAIR.sub("", file.name) if _PAIR.search(file.name) else file.stem
    endings = (f".{kind}", f".{kind}.gz")
    companions = sorted(companion for companion in file.parent.iterdir() if companion.name.startswith(stem))
    for ending in endings:
        for companion in companions:
            if companion.name[len(stem) :].lower() == ending and companion.is_file():
                return companion
    raise HeaderError(f"{what} {stem}.{kind}, which is not beside it")


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == GZIP


def _unpacked(file: Path, size: int = BLOCK) -> Iterator[bytes]:
    """What a gzip file holds, in blocks; bytes behind its last member that are not gzip end it.

    Raises:
        DAMAGED: A member is damaged or ends too early.
    """
    with file.open("rb") as stream:
        data = stream.read(size)
        while data[:2] == GZIP:
            member = isal_zlib.decompressobj(wbits=31)
            while not member.eof:
                yield member.decompress(member.unconsumed_tail or data, size)
                if not member.unconsumed_tail and not member.eof:
                    data = stream.read(size)
                    if not data:
                        raise EOFError
            data = member.unused_data
            data += stream.read(2) if len(data) < 2 else b""


@dataclass(frozen=True, slots=True)
class Room:
    """Whether a file holds the voxels that its header promises.

    Attributes:
        short: Why it cannot hold them; empty where it can.
        surplus: Bytes behind the voxels, as far as was looked.
    """

    short: str = ""
    surplus: int = 0


def room_for(file: Path, header: Header) -> Room:
    """Compare a file's length with what its header promises, without reading the voxels where that can be.

    A gzip file ends with the length of what it holds. Only where that is not the length expected (a truncated file, but
    also one of several members or with something behind the voxels) is it unpacked to see.
    """
    size = file.stat().st_size
    needed = header.offset + header.voxel_bytes
    if not _is_gzip(file):
        if size >= needed:
            return Room(surplus=size - needed)
        return Room(f"it has {size} bytes and its header promises {needed}; the file is truncated")
    if needed > size * DEFLATE_LIMIT + BLOCK:
        return Room(f"its header promises {needed} bytes, which {size} bytes of gzip cannot hold")
    with file.open("rb") as stream:
        stream.seek(max(0, size - 4))
        if int.from_bytes(stream.read(4), "little") == needed % (1 << 32):
            return Room()
    if needed > free_memory():
        return Room()  # it is never read; to count takes as long
    length = 0
    with suppress(*DAMAGED):
        for block in _unpacked(file):
            length += len(block)
            if length >= needed + PADDING:
                break
    if length >= needed:
        return Room(surplus=length - needed)
    return Room(f"its gzip stream ends after {length} of {needed} bytes; the file is truncated")


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
    try:
        _fill(flat, file, header.offset)
    except gzip.BadGzipFile as error:  # the fast way takes bytes behind the last member for damage; they are common
        if "Not a gzipped file" not in str(error):
            raise
        _fill_in_blocks(flat, file, header.offset)
    return flat


def _fill(flat: Array, file: Path, offset: int) -> None:
    """Unpack straight into the array, without a copy."""
    buffer = flat.view(np.uint8).data
    with igzip.open(file, "rb") as stream:
        _skip(stream, offset)
        done = 0
        while done < len(buffer):
            got = stream.readinto(buffer[done : done + BLOCK])
            if not got:
                raise HeaderError(f"its gzip stream ends after {done} of {len(buffer)} bytes of voxels")
            done += got
        stream.read(BLOCK)  # reading to the end is what makes gzip compare its checksum; much more is not looked at


def _fill_in_blocks(flat: Array, file: Path, offset: int) -> None:
    buffer = flat.view(np.uint8)
    done = -offset
    for block in _unpacked(file):
        part = np.frombuffer(block, np.uint8)[max(0, -done) :][: len(buffer) - max(0, done)]
        buffer[max(0, done) : max(0, done) + len(part)] = part
        done += len(block)
    if done < len(buffer):
        raise HeaderError(f"its gzip stream ends after {max(0, done)} of {len(buffer)} bytes of voxels")


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
