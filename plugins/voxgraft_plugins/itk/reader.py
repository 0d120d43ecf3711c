"""The reader of NRRD and MetaImage: a header of text, and the voxels behind it or beside it."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume

from .header import Body, Header, HeaderError

BLOCK = 1 << 22
_MOST = {"raw": 1, "text": 1, "gzip": 1040, "zlib": 1040, "bzip2": 50_000}
"""To at most about so many times its length a file unpacks."""
_TEXT, _WORD = 1 << 20, 1 << 16
_SLACK = 1 << 16
_BLANKS = bytes.maketrans(b",\t\r\n\v\f", b"      ")
_SKIPPED = 1 << 24


def shortfall(body: Body) -> str:
    """Why a file cannot hold the voxels that its header promises; empty where nothing speaks against it."""
    size = body.path.stat().st_size
    room = size - max(0, body.offset)
    if body.packing == "raw" and room < body.bytes + body.skip[1]:
        return f"its header promises {body.bytes} bytes of voxels and {max(0, room)} are there; the file is truncated"
    values = body.bytes // body.dtype.itemsize
    if body.packing == "text" and room < 2 * values - 1:
        return f"its header promises {values} values, which {max(0, room)} bytes of text cannot hold"
    if body.skip[1] > _SKIPPED and body.packing not in ("raw", "text"):
        return f"its header leaves out {body.skip[1]} bytes of what it unpacks to, more than any header has"
    if body.bytes > max(0, room) * _MOST[body.packing] + _SLACK and body.packing not in ("raw", "text"):
        return f"its header promises {body.bytes} bytes of voxels, which {max(0, room)} packed bytes cannot hold"
    return ""


def read_values(body: Body) -> Array:
    """The stored values in one flat array of the file's dtype.

    Raises:
        HeaderError: The file is damaged or shorter than its header promises.
    """
    if short := shortfall(body):
        raise HeaderError(short)
    with body.path.open("rb") as stream:
        stream.seek(max(0, body.offset) if body.offset >= 0 else body.path.stat().st_size - body.bytes)
        if body.packing == "raw":
            _skip_lines(stream, body.skip[0])
            stream.seek(body.skip[1], 1)
            flat = np.fromfile(stream, body.dtype, body.bytes // body.dtype.itemsize)
            return _whole(flat, body)
        _skip_lines(stream, body.skip[0])
        if body.packing == "text":
            stream.seek(body.skip[1], 1)
            return _of_text(stream, body)
        return _unpacked(stream, body)


def _unpacked(stream: BinaryIO, body: Body) -> Array:
    """Unpack into the array block by block, to the end, where the checksum stands."""
    flat = np.empty(body.bytes // body.dtype.itemsize, body.dtype)
    room = flat.view(np.uint8)
    data = stream.read(BLOCK)
    unpack, damage = _unpacker(body, data)
    done = -body.skip[1]
    try:
        while not unpack.eof and done <= len(room):
            block = unpack.decompress(data, BLOCK)
            data = getattr(unpack, "unconsumed_tail", b"")
            part = np.frombuffer(block, np.uint8)[max(0, -done) :][: max(0, len(room) - max(0, done))]
            room[max(0, done) : max(0, done) + len(part)] = part
            done += len(block)
            if not data and not unpack.eof and getattr(unpack, "needs_input", True):
                data = stream.read(BLOCK)
                if not data:
                    break
    except damage as error:
        raise HeaderError("its packed voxels are damaged; copy the file again") from error
    if done > len(room):
        raise HeaderError(f"its voxels unpack to more than the {len(room)} bytes that its header promises")
    if not unpack.eof:
        raise HeaderError("its packed voxels end too early; the file is truncated, copy it again")
    if done != len(room):
        raise HeaderError(f"its voxels unpack to {max(0, done)} bytes, and its header promises {len(room)}")
    return flat


def _unpacker(body: Body, head: bytes) -> tuple[Any, Any]:
    if body.packing == "bzip2":
        return bz2.BZ2Decompressor(), (OSError, ValueError)
    gzip = head[:2] == b"\x1f\x8b"
    return isal_zlib.decompressobj(wbits=31 if gzip else 15), (isal_zlib.error, OSError)


def _of_text(stream: BinaryIO, body: Body) -> Array:
    """Values in words, taken a block at a time: as text each takes far more memory than as a number."""
    count, done, rest = body.bytes // body.dtype.itemsize, 0, b""
    flat = np.empty(count, body.dtype)
    while done < count:
        block = stream.read(_TEXT)
        text = rest + block.translate(_BLANKS)
        end = text.rfind(b" ") + 1 if block else len(text)
        words, rest = text[:end].split()[: count - done], text[end:]
        if len(rest) > _WORD:
            raise HeaderError("it holds something other than numbers where its voxels should be")
        flat[done : done + len(words)] = _numbers(words, body.dtype)
        done += len(words)
        if not block:
            break
    return _whole(flat[:done], body)


def _numbers(words: list[bytes], dtype: np.dtype[Any]) -> Array:
    try:
        values = np.array(words, dtype=np.float64 if dtype.kind == "f" else np.int64)
        flat = values.astype(dtype)
    except (ValueError, OverflowError) as error:
        raise HeaderError("it holds something other than numbers where its voxels should be") from error
    if dtype.kind != "f" and not np.array_equal(flat, values):
        raise HeaderError("one of its values does not fit the type that its header gives")
    return flat


def _whole(flat: Array, body: Body) -> Array:
    if flat.size * body.dtype.itemsize != body.bytes:
        raise HeaderError(f"it holds {flat.size} values of the {body.bytes // body.dtype.itemsize} that are promised")
    return flat


def _skip_lines(stream: BinaryIO, count: int) -> None:
    for _ in range(count):
        if not stream.readline(BLOCK):
            raise HeaderError("it ends before its voxels")


class TextReader:
    """Reads an image as it is: spatial axes in the file's order, another axis as channels, integers kept.

    A segmentation of 3D Slicer keeps its values; the names of its segments stand in the facts of the item (`names`, and
    `segments` with value and layer). One of several layers, whose segments may overlap, gives a channel of 0 and 1 for
    each segment, in the order of the names.
    """

    def __init__(self, name: str, parse: Callable[[Path], Header]) -> None:
        self._name, self._parse = name, parse

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe each file from its header."""
        return [self._describe(file) for file in files]

    def read(self, item: Item) -> Volume:
        """Read the voxels: (i, j[, k]) or (channel, i, j[, k]); the first spatial axis is contiguous where it can be.

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            header = self._parse(item.path)
            if header.shape != item.shape or _channels(header) != item.channels:
                raise HeaderError("it has changed since it was looked at")
            array = _arranged(read_values(header.body), header)
        except HeaderError as error:
            raise BadImage(item.path, str(error)) from None
        except OSError as error:
            raise BadImage(item.path, f"it cannot be read: {error.strerror or error}") from error
        return Volume(array, header.affine, dims=len(header.shape), item=item)

    def _describe(self, file: Path) -> Item:
        try:
            header = self._parse(file)
            short = shortfall(header.body)
        except HeaderError as error:
            return self._unreadable(file, str(error))
        except OSError as error:
            return self._unreadable(file, f"it cannot be read: {error.strerror or error}")
        fault = (Problem("truncated", short),) if short else ()
        return Item(
            path=file,
            reader=self._name,
            shape=header.shape,
            affine=header.affine,
            channels=_channels(header),
            problems=(*header.problems, *fault),
            files=(file,) if header.body.path == file else (file, header.body.path),
            facts={**header.facts, "dtype": header.body.dtype.name},
        )

    def _unreadable(self, file: Path, reason: str) -> Item:
        return Item(file, self._name, (), np.eye(4), problems=(Problem("unreadable", reason),), files=(file,))


def _channels(header: Header) -> int:
    return len(header.facts["segments"]) if _layered(header) else header.channels


def _layered(header: Header) -> bool:
    """Whether it is a segmentation whose segments lie in several layers."""
    return header.channels > 1 and bool(header.facts.get("segments"))


def _arranged(flat: Array, header: Header) -> Array:
    """Stored values as (i, j[, k]) or (channel, i, j[, k]), in this machine's byte order."""
    if not flat.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(flat.dtype.newbyteorder("="))
    flat = flat.astype(np.float32) if flat.dtype == np.float64 else flat
    sizes = header.body.sizes
    array: Array = flat.reshape(sizes, order="F")
    others = [axis for axis in range(len(sizes)) if axis not in header.space]
    array = array.transpose(*others, *header.space).reshape((header.channels, *header.shape), order="A")
    segments = header.facts.get("segments", ())
    if _layered(header) and len(segments) == 1:  # a map of values as it were alone
        value = segments[0]["value"]
        return np.asarray(np.where(array[segments[0]["layer"]] == value, array.dtype.type(value), array.dtype.type(0)))
    if _layered(header):
        return np.stack([array[one["layer"]] == one["value"] for one in segments]).view(np.uint8)
    if header.channels == 1:
        return np.asarray(array[0])
    # Colours lie beside each other in the file; each channel is wanted whole.
    apart = np.ascontiguousarray(array.transpose(0, *range(array.ndim - 1, 0, -1)))
    return apart.transpose(0, *range(array.ndim - 1, 0, -1))
