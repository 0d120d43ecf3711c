"""The proof that a written mask lies where it should: the file's own numbers against the array that was written.

The file is read with pydicom and plain arithmetic, not with the library that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.errors import DataError
from voxgraft.volume import Array

RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Place:
    """How many voxels a segment has, and where their middle lies in RAS millimetres (None where it has none)."""

    voxels: int
    centroid: tuple[float, float, float] | None


def places_in_file(path: Path) -> dict[int, Place]:
    """What each segment of a DICOM SEG file holds, by its number."""
    from pydicom import dcmread

    dataset = dcmread(path)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    count = {int(segment.SegmentNumber): 0 for segment in dataset.SegmentSequence}
    total = {number: np.zeros(3) for number in count}
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for index, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        bits = _frame(packed, index, rows * columns).reshape(rows, columns)
        voxels = int(bits.sum())
        if voxels:
            number = int(_group(frame, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            down = float(bits.sum(1) @ np.arange(rows)) / voxels
            across = float(bits.sum(0) @ np.arange(columns)) / voxels
            count[number] += voxels
            total[number] += voxels * _point(frame, shared, across, down)
    return {number: _place(voxels, total[number]) for number, voxels in count.items()}


def places_in_array(numbers: Array, segments: int, affine: Array) -> dict[int, Place]:
    """The same of an array of segment numbers, shape (column, row, slice), with its affine to RAS millimetres."""
    count = np.zeros(segments + 1, np.int64)
    index = np.zeros((segments + 1, 3))
    for k in range(numbers.shape[2]):
        plane = numbers[:, :, k]
        i, j = np.nonzero(plane)
        found = plane[i, j].astype(np.intp)
        here = np.bincount(found, minlength=segments + 1)
        count += here
        index[:, 0] += np.bincount(found, i, minlength=segments + 1)
        index[:, 1] += np.bincount(found, j, minlength=segments + 1)
        index[:, 2] += here * k
    places = {}
    for number in range(1, segments + 1):
        voxels = int(count[number])
        places[number] = _place(voxels, affine[:3, :3] @ index[number] + voxels * affine[:3, 3])
    return places


def compare(written: dict[int, Place], expected: dict[int, Place], names: tuple[str, ...], tolerance: float) -> None:
    """Refuse a file that does not hold what was to be written.

    Raises:
        DataError: A segment's voxels are not as many, or their middle lies elsewhere.
    """
    for number, name in enumerate(names, start=1):
        there, wanted = written.get(number, Place(0, None)), expected[number]
        if there.voxels != wanted.voxels:
            raise DataError(f"the written segment {name!r} has {there.voxels} voxels, the mask has {wanted.voxels}")
        if there.centroid is None or wanted.centroid is None:
            continue
        off = float(np.linalg.norm(np.subtract(there.centroid, wanted.centroid)))
        if off > tolerance:
            raise DataError(f"the written segment {name!r} lies {off:.2f} mm beside the mask")


def _frame(packed: Array, index: int, size: int) -> Array:
    """The bits of one frame; frames follow each other without padding to whole bytes."""
    start = index * size
    part = packed[start // 8 : -(-(start + size) // 8)]
    return np.unpackbits(part, bitorder="little")[start % 8 : start % 8 + size]


def _group(frame: Any, shared: Any, name: str) -> Any:
    """A functional group of a frame; what all frames have in common stands with the shared ones."""
    return (frame if name in frame else shared)[name].value[0]


def _point(frame: Any, shared: Any, across: float, down: float) -> Array:
    """A point of a frame in RAS millimetres; `across` counts columns and `down` rows."""
    position = np.array(_group(frame, shared, "PlanePositionSequence").ImagePositionPatient, dtype=float)
    cosines = np.array(_group(frame, shared, "PlaneOrientationSequence").ImageOrientationPatient, dtype=float)
    spacing = np.array(_group(frame, shared, "PixelMeasuresSequence").PixelSpacing, dtype=float)
    return np.asarray(RAS * (position + across * spacing[1] * cosines[:3] + down * spacing[0] * cosines[3:]))


def _place(voxels: int, total: Array) -> Place:
    if voxels == 0:
        return Place(0, None)
    x, y, z = (float(value) / voxels for value in total)
    return Place(voxels, (x, y, z))
