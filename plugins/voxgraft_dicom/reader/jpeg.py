"""What a JPEG stream (ITU-T T.81, annex B) or a JPEG 2000 stream (ISO/IEC 15444-1, annex A) says of itself.

Decoders of lossless JPEG and of JPEG with 12 bits trust the file's header more than they should; so streams are
measured first, and a decoder is given only what fits the header. JPEG 2000 of whole numbers that was compressed without
loss decodes to the same values everywhere: it may go to the decoder that works on several cores; lossy streams, and
those that do not fit their file's header, stay with the one that knows the exceptions.
"""

from __future__ import annotations

from struct import error, unpack_from

from .header import Header

STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))
FRAMES = frozenset(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7})
"""Markers that begin a frame, that of JPEG-LS among them (T.87): its size, depth and components follow."""
SCAN, END = 0xDA, b"\xff\xd9"

START, CODING, COMPONENT_CODING, PART = 0xFF51, 0xFF52, 0xFF53, 0xFF90
"""Markers of a codestream of JPEG 2000."""
REVERSIBLE = 1


def fits(stream: bytes, header: Header) -> bool:
    """Whether a JPEG stream is whole and holds as many pixels, of no more bits, as its file's header promises."""
    measured = _frame(stream)
    if measured is None or END not in stream[-8:]:
        return False
    bits, rows, columns, samples = measured
    promised = (header.whole("Rows"), header.whole("Columns"), header.whole("SamplesPerPixel", 1))
    return (rows, columns, samples) == promised and bits <= header.whole("BitsAllocated")


def exact(stream: bytes, header: Header) -> bool:
    """Whether a JPEG 2000 stream is whole, without loss, and holds the pixels that its file's header promises, of one
    sample."""
    try:
        return END in stream[-8:] and _codestream(stream) == _promised(header) and _transform(stream) == REVERSIBLE
    except (IndexError, error):
        return False


def depth(stream: bytes) -> int:
    """The bits of a sample; 0 where it is not a JPEG or JPEG-LS stream."""
    measured = _frame(stream)
    return measured[0] if measured else 0


def precision(stream: bytes) -> int:
    """The bits of a sample, also of JPEG 2000; 0 where the stream does not state them."""
    try:
        size = _codestream(stream)
    except error:
        size = ()
    return depth(stream) or (size[3] if size else 0)


def size_of(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns as a stream states them; None where it does not, or tells its rows behind the pixels."""
    try:
        if size := _codestream(stream):
            return size[1], size[0]
    except error:
        return None
    measured = _frame(stream)
    return measured[1:3] if measured is not None and measured[1] else None


def _frame(stream: bytes) -> tuple[int, int, int, int] | None:
    """Bits, rows, columns and components of the frame; None where there is none before the pixels."""
    at = 2
    if stream[:2] != b"\xff\xd8":
        return None
    try:
        while True:
            if stream[at] != 0xFF:
                return None
            marker = stream[at + 1]
            if marker == 0xFF or marker in STANDALONE:
                at += 1 if marker == 0xFF else 2
                continue
            if marker == SCAN:
                return None
            if marker in FRAMES:
                bits, rows, columns, samples = unpack_from(">BHHB", stream, at + 4)
                return bits, rows, columns, samples
            (length,) = unpack_from(">H", stream, at + 2)
            at += 2 + max(length, 2)
    except (IndexError, error):
        return None


def _codestream(stream: bytes) -> tuple[int, ...]:
    """Columns, rows, components, bits and sign of the first component; nothing where it is not a plain codestream."""
    if unpack_from(">HH", stream) != (0xFF4F, START):
        return ()
    right, lower, left, upper = unpack_from(">IIII", stream, 8)
    components, depth = unpack_from(">HB", stream, 40)
    return right - left, lower - upper, components, (depth & 0x7F) + 1, depth >> 7


def _promised(header: Header) -> tuple[int, ...]:
    bits = header.whole("BitsStored", header.whole("BitsAllocated"))
    sign = header.whole("PixelRepresentation")
    return header.whole("Columns"), header.whole("Rows"), header.whole("SamplesPerPixel", 1), bits, sign


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
