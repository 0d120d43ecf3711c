"""The slices that a mask refers to: their headers, with what real archives leave out filled in, in memory only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import BadImage, DataError, Item, Volume, spacing_of

from .deflated import read_dicom
from .forgiving import forgiving

RAS = np.array([-1.0, -1.0, 1.0])
"""From LPS, DICOM's axes, to RAS and back."""

NEAR = 0.1
"""How far a frame of a multi-frame file may lie from the slice it is taken for, in slices."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice of the scan.

    Attributes:
        header: The header of its file.
        frame: Its number in a multi-frame file, from 1; None in a file of its own.
        position: The centre of its first pixel in LPS millimetres, as the file states it; None for a picture without
            a place in the patient.
    """

    header: Any
    frame: int | None
    position: tuple[float, ...] | None

    @property
    def instance(self) -> tuple[str, str]:
        """SOP class and SOP instance UID."""
        return str(self.header.SOPClassUID), str(self.header.SOPInstanceUID)


@dataclass(frozen=True, slots=True)
class Sources:
    """A scan as derived objects refer to it.

    Attributes:
        item: What the reader found.
        planes: One for each slice, in the order of the volume's last axis.
        orientation: Direction cosines of rows and of columns in LPS; None for a picture without a place.
        spacing: Millimetres from row to row, from column to column, and from slice to slice.
        study, series, frame: The UIDs of study, series and frame of reference, made up where the files leave them
            blank.
        filled: Names of the attributes that were made up.
    """

    item: Item
    planes: tuple[Plane, ...]
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float, float]
    study: str
    series: str
    frame: str
    filled: tuple[str, ...]

    @property
    def first(self) -> Any:
        """The header of the first slice."""
        return self.planes[0].header

    @property
    def instances(self) -> tuple[str, ...]:
        """SOP instance UIDs of the files, in the order of the slices."""
        return tuple(dict.fromkeys(plane.instance[1] for plane in self.planes))

    @property
    def remark(self) -> str:
        """One sentence on what was made up, for whoever reads the derived object."""
        return f"The scan gives no {', '.join(self.filled)}; derived from its instances and positions."

    def text(self, name: str) -> str:
        """An attribute of the first slice as text; empty where it is not there."""
        value = self.first.get(name)
        return "" if value is None else str(value)


def read_sources(volume: Volume, target: Path) -> Sources:
    """The headers behind a mask of a DICOM scan.

    Blank UIDs are taken from the file's meta header, or made from those of the instances, so that the same series gets
    the same ones every time.

    Raises:
        DataError: The mask is not in the grid of a DICOM scan.
        BadImage: A file has gone or changed since it was scanned.
    """
    item = _scan_of(volume, target)
    headers = [_header(path) for path in item.files]
    for path, header in zip(item.files, headers, strict=True):
        for name, other in (
            ("SOPClassUID", "MediaStorageSOPClassUID"),
            ("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
        ):
            if not header.get(name):
                setattr(header, name, str(header.file_meta.get(other, "") or ""))
            if not header.get(name):
                raise BadImage(path, "it names neither its SOP class nor its instance, so that no mask can refer to it")
    instances = [str(header.SOPInstanceUID) for header in headers]
    if len(set(instances)) < len(instances):
        raise BadImage(item.path, "two of its slices have one SOPInstanceUID, so that no mask can refer to them")
    planes = _planes(volume, item, headers)
    placed = _is_placed(volume, planes)
    uids, filled = _uids(headers[0], instances, placed)
    lps = RAS[:, None] * volume.affine[:3, :3]
    steps = spacing_of(volume.affine)
    cosines = _orientation(planes[0]) or tuple(float(v) for v in (*(lps[:, 0] / steps[0]), *(lps[:, 1] / steps[1])))
    if placed and not headers[0].get("SliceThickness") and planes[0].frame is None:
        filled = (*filled, "SliceThickness")
    return Sources(item, planes, cosines if placed else None, (steps[1], steps[0], steps[2]), *uids, filled)


def _is_placed(volume: Volume, planes: Sequence[Plane]) -> bool:
    """Whether the slices have a place in the patient; a picture has one where its grid starts at its position."""
    if any(plane.position is None for plane in planes):
        if volume.dims == 3:
            raise DataError("some slices of this series have no position, so that no mask can refer to them")
        return False
    start = RAS * np.array(planes[0].position)
    return volume.dims == 3 or bool(np.linalg.norm(start - volume.affine[:3, 3]) < NEAR * min(volume.spacing))


def _uids(header: Any, instances: list[str], placed: bool) -> tuple[tuple[str, str, str], tuple[str, ...]]:
    from .identity import derived_uid

    names = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "FrameOfReferenceUID": "frame of reference"}
    found = {name: str(header.get(name) or "") for name in names}
    blank = [name for name, value in found.items() if not value and (placed or name != "FrameOfReferenceUID")]
    for name in blank:
        found[name] = derived_uid(names[name], *instances)
    study, series, frame = found.values()
    return (study, series, frame), tuple(blank)


def _scan_of(volume: Volume, target: Path) -> Item:
    item = volume.item
    if item is None or item.reader != "dicom" or not item.files:
        raise DataError(f"{target}: it belongs to a DICOM series, and this scan is none")
    if volume.shape != tuple(item.shape):
        there, here = ("x".join(map(str, shape)) for shape in (item.shape, volume.shape))
        raise DataError(f"{target}: the mask has {here} voxels and the series {there}; masks must be in its grid")
    return item


def _planes(volume: Volume, item: Item, headers: Sequence[Any]) -> tuple[Plane, ...]:
    """The slice behind each index of the last axis."""
    slices = volume.shape[2] if volume.dims == 3 else 1
    groups = "PerFrameFunctionalGroupsSequence"
    single = all(int(header.get("NumberOfFrames") or 1) == 1 and groups not in header for header in headers)
    if single:
        frames = [Plane(header, None, _numbers(header.get("ImagePositionPatient"), 3)) for header in headers]
        if slices == len(headers):
            return tuple(frames)
    else:
        frames = [plane for header in headers for plane in _frames(header)]
    if volume.dims == 2:
        if len(frames) != 1:
            raise BadImage(
                item.path, "it has several frames, and a mask of two axes cannot say which one it belongs to"
            )
        return (frames[0],)
    places = np.array([plane.position or (np.inf,) * 3 for plane in frames], dtype=float)
    found = []
    for k in range(slices):
        wanted = RAS * (volume.affine[:3, 2] * k + volume.affine[:3, 3])
        apart = np.linalg.norm(places - wanted, axis=1)
        best = int(apart.argmin())
        if not apart[best] <= NEAR * max(spacing_of(volume.affine)):
            raise BadImage(item.path, f"none of its frames lies where slice {k} of the mask lies")
        found.append(frames[best])
    return tuple(found)


def _frames(header: Any) -> list[Plane]:
    """The frames of one file, with the position of each."""
    count = int(header.get("NumberOfFrames") or 1)
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    planes = []
    for number in range(count):
        groups = [group for group in (own[number] if number < len(own) else None, shared) if group is not None]
        position = next(
            (group.PlanePositionSequence[0] for group in groups if group.get("PlanePositionSequence")), header
        )
        planes.append(Plane(header, number + 1, _numbers(position.get("ImagePositionPatient"), 3)))
    return planes


def _orientation(plane: Plane) -> tuple[float, ...] | None:
    """The direction cosines that the file states, which are finer than what follows from an affine."""
    if plane.frame is None:
        return _numbers(plane.header.get("ImageOrientationPatient"), 6)
    own = list(plane.header.get("PerFrameFunctionalGroupsSequence") or [])[plane.frame - 1 : plane.frame]
    for group in (*own, *(plane.header.get("SharedFunctionalGroupsSequence") or [])):
        if group.get("PlaneOrientationSequence"):
            return _numbers(group.PlaneOrientationSequence[0].get("ImageOrientationPatient"), 6)
    return None


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(one) for one in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _header(path: Path) -> Any:
    from pydicom.errors import InvalidDicomError

    try:
        with forgiving():
            dataset = read_dicom(path, pixels=False)
            dataset.file_meta  # noqa: B018 - absent from damaged files
            if not len(dataset):
                raise BadImage(path, "it is not a DICOM file any more")
    except FileNotFoundError:
        raise BadImage(path, "it has gone since it was scanned") from None
    except OSError as error:
        raise BadImage(path, f"it cannot be read: {error.strerror or error}") from error
    except (InvalidDicomError, AttributeError, ValueError, EOFError, KeyError) as error:
        raise BadImage(path, "it is not a DICOM file any more") from error
    return dataset
