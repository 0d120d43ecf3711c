"""The proof that a written mask lies where it should: the file, read back as anyone's would be, against the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, BadImage, DataError, Volume

from ..objects.segments import Segments
from .objects import Segmentation, read_object
from .placing import RAS, Place, place_frames, window

OFF_MILLIMETRES, OFF_VOXELS = 0.05, 0.02
"""By how much a frame may lie beside the mask: what decimal strings cost, and what slices are off an even grid."""


def prove(path: Path, segments: Segments, mask: Volume, names: tuple[str, ...]) -> None:
    """Read a written object back and compare every voxel of every segment, at its place in the patient.

    Args:
        path: The file that was written.
        segments: The voxels of each structure, and the slices that have some.
        mask: The mask that was to be written.
        names: Of the structures, in the order of their numbers.

    Raises:
        DataError: A segment's voxels are not as many, or lie elsewhere.
    """
    seg = read_object(path)
    tolerance = min(0.5, OFF_VOXELS + OFF_MILLIMETRES / min(mask.spacing))
    try:
        places = place_frames(seg, mask, tolerance)
    except BadImage as error:
        raise DataError(f"the written object does not lie on the mask: {error.reason}") from None
    left = segments.found.copy()
    for frame, plane in seg.planes(0.5):
        if not plane.any():
            continue
        for number in [frame.segment] if frame.segment is not None else np.unique(plane[plane > 0]).tolist():
            bits = plane != 0 if frame.segment is not None else plane == number
            k = _matching(segments, number, bits, places[frame.index])
            if k is None or not left[number - 1, k]:
                raise DataError(_difference(seg, segments, mask, number, names[number - 1]))
            left[number - 1, k] = False
    for number in np.flatnonzero(left.any(axis=1)) + 1:
        raise DataError(_difference(seg, segments, mask, int(number), names[number - 1]))


def _matching(segments: Segments, number: int, bits: Array, place: Place) -> int | None:
    """The slice of the mask that the bits of a frame are; None where they are none."""
    if not 1 <= number <= segments.count:
        return None
    part = window(place, bits, segments.array.shape[-3:])
    if part is None or not isinstance(part[0][2], int) or part[1].shape != segments.array.shape[-3:-1]:
        return None
    k = part[0][2]
    return k if np.array_equal(part[1].T, segments.plane(number, k)) else None


def _difference(seg: Segmentation, segments: Segments, mask: Volume, number: int, name: str) -> str:
    """How a written segment differs from the mask: in its count of voxels, or by how far it lies beside it."""
    written, expected = _sum_of_file(seg, number), _sum_of_mask(segments, number, mask.affine)
    if written[3] != expected[3]:
        return f"the written segment {name!r} has {written[3]:.0f} voxels, the mask has {expected[3]:.0f}"
    off = float(np.linalg.norm((written - expected)[:3])) / max(float(expected[3]), 1.0)
    return f"the written segment {name!r} lies {off:.2f} mm off the mask, or has another shape"


def _sum_of_file(seg: Segmentation, number: int) -> Array:
    """The places of a segment's voxels added up in RAS millimetres, and their count."""
    total = np.zeros(4)
    for frame, plane in seg.planes(0.5):
        bits = plane != 0 if frame.segment is not None else plane == number
        if frame.segment not in (None, number) or not bits.any():
            continue
        rows, columns = np.nonzero(bits)
        if frame.origin is not None and frame.across is not None and frame.down is not None:
            position = len(rows) * frame.origin + columns.sum() * frame.across + rows.sum() * frame.down
            total[:3] += RAS * position
        total[3] += len(rows)
    return total


def _sum_of_mask(segments: Segments, number: int, affine: Array) -> Array:
    total = np.zeros(4)
    for k in np.flatnonzero(segments.found[number - 1]):
        rows, columns = np.nonzero(segments.plane(number, int(k)))
        total += affine @ (columns.sum(), rows.sum(), len(rows) * int(k), len(rows))
    return total
