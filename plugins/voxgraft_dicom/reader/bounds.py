"""Whether a compressed frame may be given to a decoder: decoders take the memory that a stream or a header names."""

from __future__ import annotations

from voxgraft.plugin import free_memory, gigabytes

from .header import Header
from .jpeg import size_of

RLE = "1.2.840.10008.1.2.5"
PACKED = 128
"""To at most so many times its length a frame of RLE unpacks (PS3.5, annex G)."""
WORK = 12
"""Bytes for each sample that a decoder may hold at once: in 32 bits, and copies."""
SMALL = 1 << 28
"""Bytes that are there without a look."""


def refusal(stream: bytes, header: Header) -> str:
    """Why a frame must not be decoded, as a sentence without the file; empty where it may."""
    promised = header.whole("Rows"), header.whole("Columns")
    if (size := size_of(stream)) is not None and size != promised:
        return f"a frame of it has {_times(size)} pixels, and its header promises {_times(promised)}"
    samples = promised[0] * promised[1] * max(1, header.whole("SamplesPerPixel", 1))
    needed = samples * header.whole("BitsAllocated") // 8
    if header.syntax == RLE and needed > PACKED * len(stream):
        return f"its header promises {needed} bytes a frame, which {len(stream)} bytes of RLE cannot hold"
    if samples * WORK > SMALL and samples * WORK > (free := free_memory()):
        return f"decoding a frame of it takes {gigabytes(samples * WORK)} of memory, and {gigabytes(free)} are free"
    return ""


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
