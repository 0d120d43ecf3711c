"""The proof of geometry: a written mask is read back, and must lie where the predicted one lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.cases import Labels
from ..errors import BadImage, DataError
from ..reading import read_item, scan
from ..volume import Array, Volume
from .quality import Structure, measure

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from ..discovery import Catalogue

SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of DICOM segmentations: the usual one, and label maps."""

NEAREST = {"one affine": (0.01, 0.01), "a place for each frame": (0.05, 0.02)}
"""A centroid may lie so many millimetres and so many voxels off: what single precision and decimal strings cost, and
where each frame has the place of its own slice, what the slices are off the grid that the reader accepted."""

SAME_VOLUME = 1e-3


class NoReader(DataError):
    """Nothing here can read the file back; it is neither right nor wrong."""


def prove(path: Path, mask: Volume, labels: Labels, structures: Mapping[str, Structure], catalogue: Catalogue) -> None:
    """Compare a written mask with the predicted one: voxels, volume and centroid of each structure.

    Args:
        structures: What was measured on `mask`.

    Raises:
        NoReader: No installed reader knows the file.
        DataError: It is not the mask that was to be written; it must not leave this place.
    """
    millimetres, voxels = NEAREST["one affine"]
    if path.suffix.lower() == ".dcm":
        found = _segments(path, labels)
        millimetres, voxels = NEAREST["a place for each frame"]
    else:
        try:
            items = scan(path, catalogue)
        except BadImage as error:
            raise NoReader(f"{path.name}: was written, but {error.reason}") from None
        found = measure(_checked(read_item(items[0], catalogue), mask, path), labels)
    reach = millimetres + voxels * max(mask.spacing)
    for name, meant in structures.items():
        _compare(path.name, name, meant, found[name], reach)


def _checked(back: Volume, mask: Volume, path: Path) -> Volume:
    if back.shape != mask.shape:
        raise DataError(f"{path.name}: came back with {back.shape} voxels, {mask.shape} were written")
    return back if back.array.dtype.kind in "iu" else back.with_array(np.rint(back.array).astype(np.int32))


def _compare(file: str, name: str, meant: Structure, found: Structure, reach: float) -> None:
    if meant.voxels != found.voxels:
        raise DataError(f"{file}: {name} came back with {found.voxels} voxels, {meant.voxels} were written")
    for one, other, unit in ((meant.ml, found.ml, "mL"), (meant.mm2, found.mm2, "mm2")):
        if one is not None and other is not None and abs(one - other) > max(SAME_VOLUME * one, 1e-3):
            raise DataError(f"{file}: {name} came back with {other:g} {unit}, {one:g} were written")
    if meant.centroid and found.centroid:
        apart = float(np.linalg.norm(np.subtract(meant.centroid, found.centroid)))
        if apart > reach:
            raise DataError(f"{file}: {name} came back {apart:.3g} mm away from where it was written")


def _segments(path: Path, labels: Labels) -> dict[str, Structure]:
    """The structures of a DICOM segmentation, measured frame by frame, one frame in memory at a time.

    Source of the geometry: DICOM PS3.3 C.7.6.16.2 (position, orientation and spacing of each frame, its own or shared
    by all), so the proof does not lean on the library that wrote the file.

    Raises:
        NoReader: It is another DICOM object.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        seg = dcmread(path)
        if seg.get("SOPClassUID") not in SEGMENTATION:
            raise NoReader(f"{path.name}: was written, but is no segmentation that can be read back")
        sums = _sums(seg)
        numbers = _numbers(seg, labels)
        voxel = _voxel_mm3(seg)
    except (InvalidDicomError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{path.name}: cannot be read back: {type(error).__name__}: {error}") from error
    found = {}
    for label in labels.items:
        voxels, total = sums.get(numbers.get(label.name, 0), (0, np.zeros(3)))
        x, y, z = (float(v) for v in total / max(voxels, 1) * (-1, -1, 1))  # LPS to RAS
        ml = round(voxels * voxel / 1000, 4)
        found[label.name] = Structure(label.value, voxels, ml, None, (x, y, z) if voxels else None)
    return found


def _sums(seg: Dataset) -> dict[int, tuple[int, Array]]:
    """For each segment number its voxels, and the sum of their places in LPS millimetres."""
    from pydicom.pixels import iter_pixels

    sums: dict[int, tuple[int, Array]] = {}
    label_map = seg.SOPClassUID == SEGMENTATION[1]
    for number, plane in enumerate(iter_pixels(seg)):
        if not plane.any():
            continue
        origin, across, down = _plane(seg, number)
        identity = None if label_map else _group(seg, number, "SegmentIdentificationSequence")
        for value in np.unique(plane[plane > 0]):
            rows, columns = np.nonzero(plane == value)
            place = len(rows) * origin + columns.sum() * across + rows.sum() * down
            segment = int(value if identity is None else identity.ReferencedSegmentNumber)
            voxels, total = sums.get(segment, (0, np.zeros(3)))
            sums[segment] = (voxels + len(rows), total + place)
    return sums


def _plane(seg: Dataset, number: int) -> tuple[Array, Array, Array]:
    """The centre of a frame's first pixel, and the steps to the next column and to the next row, in LPS millimetres."""
    cosines = np.array(_group(seg, number, "PlaneOrientationSequence").ImageOrientationPatient, dtype=float)
    down, across = (float(step) for step in _group(seg, number, "PixelMeasuresSequence").PixelSpacing)
    origin = np.array(_group(seg, number, "PlanePositionSequence").ImagePositionPatient, dtype=float)
    return origin, cosines[:3] * across, cosines[3:] * down


def _voxel_mm3(seg: Dataset) -> float:
    measures = _group(seg, 0, "PixelMeasuresSequence")
    thick = measures.get("SpacingBetweenSlices") or measures.SliceThickness
    return float(np.prod([float(step) for step in measures.PixelSpacing])) * float(thick)


def _numbers(seg: Dataset, labels: Labels) -> dict[str, int]:
    """The segment number of each structure: by its label, else, where there are as many, by its place in the list."""
    called = {str(one.SegmentLabel).strip(): int(one.SegmentNumber) for one in seg.SegmentSequence}
    exact = {name: called[name.strip()[:64]] for name in labels.names if name.strip()[:64] in called}
    if len(exact) == len(labels.items) or len(called) != len(labels.items):
        return exact
    return dict(zip(labels.names, sorted(called.values()), strict=True))


def _group(seg: Dataset, number: int, name: str) -> Dataset:
    """A functional group of a frame: its own, or the one shared by all."""
    own = seg.PerFrameFunctionalGroupsSequence[number]
    group: Dataset = (own if name in own else seg.SharedFunctionalGroupsSequence[0])[name][0]
    return group
