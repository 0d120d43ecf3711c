"""Arrays as nnInteractive's clients and servers send them, bounded before anything is unpacked.

A frame is a header (magic `NNIA`, version, codec, number of axes, length of the type's name, the type's name, the
shape as int64), the number of chunks as uint32, and the chunks: bytes unpacked and packed as two uint64, then a blosc2
chunk. Numbers are little-endian. The layout was read from `nninteractive-client` 2.6.0 (Apache-2.0).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .refused import Refused

MAGIC, VERSION = b"NNIA", 1
ZSTD = 1
CODECS = (1, 2)
CHUNK = 1 << 30
"""Bytes of the largest chunk before packing."""
MOST_AXES = 4
IMAGES = frozenset(["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"])
"""Types of voxels."""

_EXTENDED = 0x05
"""Both bits of a chunk's flags that say that its header has 32 bytes."""
_KNOWN_CODECS = frozenset((0, 1, 2, 4, 5))
_KNOWN_FILTERS = frozenset((0, 1, 2))
"""BloscLZ, LZ4, LZ4HC, ZLIB, ZSTD; none, shuffle, bitshuffle. Others would be looked for among plugins and run."""
_SPECIAL = frozenset((0, 1, 2, 3))
"""An ordinary chunk, zeros, NaN, one value; a fourth kind leaves memory as it was."""


def pack(array: NDArray[Any]) -> bytes:
    """An array as one frame."""
    import blosc2

    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    name = array.dtype.name.encode("ascii")
    raw: memoryview = array.reshape(-1).view(np.uint8).data
    starts = range(0, raw.nbytes, CHUNK)
    parts = [
        struct.pack(f"<4sBBBB{len(name)}s", MAGIC, VERSION, ZSTD, array.ndim, len(name), name),
        struct.pack(f"<{array.ndim}q", *array.shape),
        struct.pack("<I", len(starts)),
    ]
    for start in starts:
        plain = raw[start : start + CHUNK]
        packed = blosc2.compress2(plain, typesize=array.itemsize, codec=blosc2.Codec.ZSTD, clevel=1)
        parts += [struct.pack("<QQ", len(plain), len(packed)), packed]
    return b"".join(parts)


def unpack(data: bytes, most: int, shape: Sequence[int] | None = None) -> NDArray[Any]:
    """The array in a frame; its size is known, and refused where it is too large, before any of it is unpacked.

    Args:
        data: The whole frame.
        most: Bytes of the largest array.
        shape: The only one that is taken; None takes any.

    Raises:
        Refused: 400 where it is not a frame, is damaged, or has another shape; 413 where it is too large.
    """
    import blosc2

    dtype, stated, offset = _header(data)
    total = math.prod(stated) * dtype.itemsize
    if total > most:
        raise Refused(413, f"an array of {_times(stated)} values takes {total} bytes, and {most} are the most here")
    if shape is not None and stated != tuple(shape):
        raise Refused(400, f"the array has {_times(stated)} voxels, and the image {_times(shape)}")
    chunks = list(_chunks(data, offset, total, dtype.itemsize))
    flat = np.zeros(math.prod(stated), dtype)
    done = 0
    for length, packed in chunks:
        into = flat[done // dtype.itemsize : (done + length) // dtype.itemsize]
        try:
            blosc2.decompress2(packed, dst=into)
        except Exception as error:  # the library has several errors for a damaged chunk
            raise Refused(400, "the array is damaged: a chunk of it cannot be unpacked") from error
        done += length
    return flat.reshape(stated)


def _header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape and where the chunks begin."""
    try:
        magic, version, codec, axes, letters = struct.unpack_from("<4sBBBB", data, 0)
        name = data[8 : 8 + letters].decode("ascii")
        if magic != MAGIC or version != VERSION or codec not in CODECS:
            raise ValueError("it is not a frame of this protocol")
        if not 1 <= axes <= MOST_AXES or name not in IMAGES:
            raise ValueError("its type or its number of axes does not fit an image")
        shape = struct.unpack_from(f"<{axes}q", data, 8 + letters)
    except (struct.error, UnicodeDecodeError) as error:
        raise Refused(400, "the array is cut off: its header is not whole") from error
    except ValueError as error:
        raise Refused(400, f"this is not an array: {error}") from None
    if any(not 1 <= n <= 2**31 for n in shape):
        raise Refused(400, "this is not an array: an axis has no voxels, or more than any image")
    return np.dtype(name).newbyteorder("<"), shape, 8 + letters + 8 * axes


def _chunks(data: bytes, offset: int, total: int, itemsize: int) -> Iterator[tuple[int, memoryview]]:
    """Each chunk's bytes after unpacking, and the chunk; together as many bytes as the array has."""
    view, done = memoryview(data), 0
    try:
        (number,) = struct.unpack_from("<I", data, offset)
        offset += 4
        for _ in range(number):
            length, packed = struct.unpack_from("<QQ", data, offset)
            offset += 16
            chunk = view[offset : offset + packed]
            if not 0 < length <= total - done or length % itemsize or len(chunk) != packed:
                raise Refused(400, "the array is damaged: its chunks are not what its shape needs")
            _check_chunk(chunk, length)
            yield length, chunk
            done, offset = done + length, offset + packed
    except struct.error:
        raise Refused(400, "the array is cut off") from None
    if done != total or offset != len(data):
        raise Refused(400, "the array is cut off, or more than one array was sent")


def _check_chunk(chunk: memoryview, length: int) -> None:
    """Refuse a chunk whose own header says another size, or asks for code that is not of the library itself.

    The 32 bytes of a header: version, version of the codec, flags, size of a value; bytes unpacked, of a block, packed
    (uint32); six filters; the codec, its option; six options of filters; two of flags.
    """
    if len(chunk) < 32:
        raise Refused(400, "the array is cut off")
    unpacked, block, packed = struct.unpack_from("<III", chunk, 4)
    if unpacked != length or packed != len(chunk) or block > max(length, 1):
        raise Refused(400, "the array is damaged: a chunk says that it is of another size")
    plain = chunk[2] & _EXTENDED == _EXTENDED and not chunk[31] & 0x0F and (chunk[31] >> 4) & 0x07 in _SPECIAL
    if not plain or chunk[22] not in _KNOWN_CODECS or not set(chunk[16:22]) <= _KNOWN_FILTERS:
        raise Refused(400, "the array is packed in a way that is not taken here; use LZ4 or ZSTD")


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
