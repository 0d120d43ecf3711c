"""How the frames of uncompressed pixels follow each other, from the length of the pixel data.

One-bit frames follow each other without padding (PS3.5, 8.1.1); widely used programs begin each at a byte instead. The
two have different lengths but for few small frames, and then the bits that must be 0 tell which it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, BadImage


@dataclass(frozen=True, slots=True)
class Steps:
    """How frames follow each other.

    Attributes:
        bits: From the beginning of a frame to that of the next.
        padded: Each begins at a byte, against the standard.
        doubtful: The other way would fit as well, and give other frames.
    """

    bits: int
    padded: bool = False
    doubtful: bool = False


def steps_of(path: Path, data: Array, frames: int, size: int, bits: int) -> Steps:
    """How the frames of pixel data follow each other; as the standard says where either way fits.

    Args:
        data: The bytes of the pixel data.
        size: Pixels in a frame.
        bits: Bits of a pixel: 1, 8 or 16.

    Raises:
        BadImage: The pixel data are shorter or longer than the frames in either way.
    """
    packed = size * bits
    padded = 8 * -(-packed // 8)
    fits = [step for step in dict.fromkeys((packed, padded)) if _has_length(data, frames, step)]
    if not fits:
        raise BadImage(path, _wrong(len(data), frames, packed, padded))
    if len(fits) == 1:
        return Steps(fits[0], padded=fits[0] != packed)
    if _rest(data, frames, packed, packed).any() and not _rest(data, frames, packed, padded).any():
        return Steps(padded, padded=True)
    either = not _rest(data, frames, packed, padded).any()
    same = np.array_equal(_planes(data, frames, packed, packed), _planes(data, frames, packed, padded))
    return Steps(packed, doubtful=either and not same)


def _wrong(length: int, frames: int, packed: int, padded: int) -> str:
    expected = -(-frames * packed // 8)
    if length < expected:
        return f"it is truncated: {length} bytes of pixels instead of {expected}"
    other = f" (or {frames * padded // 8} where each begins at a byte)" if padded > packed else ""
    return f"it has {length} bytes of pixels, and its {frames} frames need {expected}{other}; export it again"


def _has_length(data: Array, frames: int, step: int) -> bool:
    """Whether the pixel data have the length of so many frames; one byte may be added to make it even."""
    expected = -(-frames * step // 8)
    return len(data) in (expected, expected + expected % 2)


def _planes(data: Array, frames: int, packed: int, step: int) -> Array:
    """The bits of each frame, (frame, bit), of pixel data that are small."""
    bits = np.unpackbits(data, bitorder="little")
    return np.stack([bits[frame * step : frame * step + packed] for frame in range(frames)])


def _rest(data: Array, frames: int, packed: int, step: int) -> Array:
    """The bits between frames and behind the last, which are 0 where the frames lie so."""
    bits = np.unpackbits(data, bitorder="little")
    for frame in range(frames):
        bits[frame * step : frame * step + packed] = 0
    return bits
