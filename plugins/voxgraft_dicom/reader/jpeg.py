"""What a JPEG stream says of itself (ITU-T T.81, annex B): a decoder is given only what fits its header.

Decoders of lossless JPEG and of JPEG with 12 bits trust the file's header more than they should; so streams are
measured first.
"""

from __future__ import annotations

from struct import error, unpack_from

from .header import Header

STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))
FRAMES = frozenset(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7})
"""Markers that begin a frame, that of JPEG-LS among them (T.87): its size, depth and components follow."""
SCAN, END = 0xDA, b"\xff\xd9"


def fits(stream: bytes, header: Header) -> bool:
    """Whether a stream is whole and holds as many pixels, of no more bits, as its file's header promises."""
    measured = _frame(stream)
    if measured is None or END not in stream[-8:]:
        return False
    bits, rows, columns, samples = measured
    promised = (header.whole("Rows"), header.whole("Columns"), header.whole("SamplesPerPixel", 1))
    return (rows, columns, samples) == promised and bits <= header.whole("BitsAllocated")


def depth(stream: bytes) -> int:
    """The bits of a sample; 0 where it is not a JPEG or JPEG-LS stream."""
    measured = _frame(stream)
    return measured[0] if measured else 0


def size_of(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns of the frame; None where there is none before the pixels, or its rows are told behind them."""
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
