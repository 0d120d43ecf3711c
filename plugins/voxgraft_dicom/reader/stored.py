"""The bits of a pixel that are the pixel: BitsStored of them up to HighBit, in a word of BitsAllocated (PS3.5, 8.1.1).

Old scanners kept overlays in the others. A compressed stream holds whole words where its own precision is more than
BitsStored (PS3.5, 8.2), so what lies around the stored bits is left out of every frame, however it was decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from voxgraft.plugin import Array, Problem

from ..objects.forgiving import forgiving
from .header import Header

Strange = Callable[[Header, int], None]
"""Is told of a file that has bits around the stored ones, and which bits of a word these are."""


def keep_stored(plane: Array, header: Header, strange: Strange, *, high: int | None = None) -> None:
    """Clear the bits around the stored ones in place, and extend the sign.

    Args:
        plane: Words of a native type that is signed where PixelRepresentation is 1.
        high: The highest stored bit; by default HighBit.
    """
    allocated = plane.dtype.itemsize * 8
    used = header.whole("BitsStored", allocated)
    high = header.whole("HighBit", used - 1) if high is None else high
    if used >= allocated or not plane.size:
        return
    signed = plane.dtype.kind == "i"
    lowest, highest = (-(1 << used - 1), (1 << used - 1) - 1) if signed else (0, (1 << used) - 1)
    if high == used - 1 and lowest <= int(plane.min()) and int(plane.max()) <= highest:
        return
    if odd := _around(plane, used, high):
        strange(header, odd)
    np.left_shift(plane, allocated - 1 - high, out=plane)
    np.right_shift(plane, allocated - used, out=plane)


def _around(plane: Array, used: int, high: int) -> int:
    """The bits around the stored ones that are set in some word; those that repeat its sign do not count."""
    unsigned = plane.view(plane.dtype.str.replace("i", "u"))
    whole = (1 << plane.dtype.itemsize * 8) - 1
    kept = ((1 << used) - 1) << (high + 1 - used)
    sign = whole & ~((1 << (high + 1)) - 1)
    rest = unsigned & unsigned.dtype.type(whole & ~kept)
    if plane.dtype.kind == "i":
        negative = (unsigned >> unsigned.dtype.type(high)) & unsigned.dtype.type(1) == 1
        rest[negative & (rest & unsigned.dtype.type(sign) == sign)] &= unsigned.dtype.type(whole & ~sign)
    return int(np.bitwise_or.reduce(rest, axis=None))


def bits_problem(strange: Iterable[tuple[Header, int]]) -> tuple[Problem, ...]:
    """What to say of files that have bits around the stored ones which no overlay of theirs accounts for."""
    files: dict[str, tuple[Header, int]] = {}
    for header, odd in strange:
        files[str(header.path)] = header, odd | files.get(str(header.path), (header, 0))[1]
    left = [header for header, odd in files.values() if odd & ~_overlays(header)]
    if not left:
        return ()
    text = (
        f"in {len(left)} of its files pixels have more bits than the {left[0].whole('BitsStored')} that BitsStored "
        "says; the others were left out"
    )
    return (Problem("unused-bits", text, "warning"),)


def _overlays(header: Header) -> int:
    """The bits of a pixel's word that the header gives to overlays (60xx,0100 and 60xx,0102; PS3.3, C.9.2)."""
    import pydicom

    bits = 0
    try:
        with forgiving():
            dataset = pydicom.dcmread(header.path, stop_before_pixels=True, force=True)
            for group in range(0x6000, 0x6020, 2):
                if int(dataset.get((group, 0x0100)).value if (group, 0x0100) in dataset else 1) > 1:
                    bits |= 1 << int(dataset[group, 0x0102].value)
    except Exception:  # pydicom fails in many ways on what is badly written; then nothing accounts for the bits
        return 0
    return bits
