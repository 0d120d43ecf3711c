"""What a JPEG 2000 stream says of itself (ISO/IEC 15444-1, annex A): which streams every decoder gives the same of.

Streams of whole numbers that were compressed without loss decode to the same values everywhere. They may go to the
decoder that works on several cores; lossy ones, and those that do not fit their file's header, stay with the one that
knows the exceptions.
"""

from __future__ import annotations

from struct import error, unpack_from

from .header import Header

START, CODING, PART = 0xFF51, 0xFF52, 0xFF90
COMPONENT_CODING = 0xFF53
REVERSIBLE = 1
END = b"\xff\xd9"


def exact(stream: bytes, header: Header) -> bool:
    """Whether a stream is whole, without loss, and holds the pixels of one sample that its file's header promises."""
    try:
        return END in stream[-8:] and _size(stream) == _promised(header) and _transform(stream) == REVERSIBLE
    except (IndexError, error):
        return False


def depth(stream: bytes) -> int:
    """The bits of the first component; 0 where it is not a plain codestream."""
    try:
        size = _size(stream)
    except error:
        return 0
    return size[3] if size else 0


def _promised(header: Header) -> tuple[int, ...]:
    bits = header.whole("BitsStored", header.whole("BitsAllocated"))
    sign = header.whole("PixelRepresentation")
    return header.whole("Columns"), header.whole("Rows"), header.whole("SamplesPerPixel", 1), bits, sign


def _size(stream: bytes) -> tuple[int, ...]:
    """Columns, rows, components, bits and sign of the first component; nothing where it is not a plain codestream."""
    if unpack_from(">HH", stream) != (0xFF4F, START):
        return ()
    right, lower, left, upper = unpack_from(">IIII", stream, 8)
    components, depth = unpack_from(">HB", stream, 40)
    return right - left, lower - upper, components, (depth & 0x7F) + 1, depth >> 7


def _transform(stream: bytes) -> int | None:
    """The wavelet transform that holds for all components; None where the main header does not settle it."""
    at, transform = 4 + unpack_from(">H", stream, 4)[0], None
    while (marker := unpack_from(">H", stream, at)[0]) != PART:
        if marker == COMPONENT_CODING or marker < 0xFF00:
            return None
        if marker == CODING:
            transform = stream[at + 13]
        at += 2 + max(2, unpack_from(">H", stream, at + 2)[0])
    return transform
