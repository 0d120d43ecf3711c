"""A structure set as its file states it: regions of interest, and the points of their contours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import Array, BadImage

from ..objects.deflated import read_dicom
from ..objects.forgiving import understanding

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
CONTOUR_DATA = 0x30060050
CLOSED = {"CLOSED_PLANAR": False, "CLOSEDPLANAR": False, "CLOSEDPLANAR_XOR": True, "CLOSED_PLANAR_XOR": True, "": False}
"""Kinds of contours that enclose an area, and whether those of a slice are combined by exclusive or."""
FARTHEST = 1e5
"""Millimetres from the origin beyond which no patient reaches."""


@dataclass(frozen=True, slots=True)
class Contour:
    """A closed contour.

    Attributes:
        points: Shape (n, 3), LPS millimetres, n at least 3.
        exclusive: Combined with others of its slice by exclusive or.
    """

    points: Array
    exclusive: bool


@dataclass(frozen=True)
class Region:
    """A region of interest.

    Attributes:
        frame: The frame of reference that its points lie in; empty where the file does not say.
        items: Its contours as pydicom holds them.
    """

    number: int
    name: str
    frame: str
    items: tuple[Any, ...]

    def contours(self, path: Path) -> Iterator[Contour]:
        """The closed contours; points, open lines, and contours of fewer than three points are left out.

        Raises:
            BadImage: The points of one are not numbers.
        """
        for number, item in enumerate(self.items, start=1):
            with understanding(path):
                kind = str(item.get("ContourGeometricType") or "").strip().upper()
                points = _points(item, path, f"contour {number} of {self.name!r}") if kind in CLOSED else ()
            if len(points) >= 3:
                yield Contour(np.asarray(points), CLOSED[kind])

    @property
    def left_out(self) -> int:
        """How many of its contours enclose nothing: points and open lines."""
        return sum(str(item.get("ContourGeometricType") or "").strip().upper() not in CLOSED for item in self.items)


@dataclass(frozen=True)
class StructureSet:
    """What a file holds."""

    path: Path
    dataset: Any
    regions: tuple[Region, ...]


def read_structure_set(path: Path) -> StructureSet:
    """Read a structure set; points are understood later.

    Raises:
        BadImage: It is damaged, or another kind of object.
    """
    with understanding(path):
        dataset = read_dicom(path)
        if str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")) != STRUCTURE_SET:
            raise BadImage(path, "it is not an RTSTRUCT object")
        _whole(path, dataset)
        return StructureSet(path, dataset, _regions(path, dataset))


def _whole(path: Path, dataset: Any) -> None:
    """Refuse a file that breaks off: pydicom gives what it found, and structures would be missing in silence.

    Raises:
        BadImage: An element is shorter than it says, or the contours are not there at all.
    """
    for tag in dataset.keys():  # noqa: SIM118 - iterating over a data set would convert its elements
        raw = dataset.get_item(tag)
        length = getattr(raw, "length", None)
        if isinstance(raw.value, bytes) and length not in (None, 0xFFFFFFFF) and len(raw.value) < length:
            raise BadImage(path, "it is truncated")
    if "ROIContourSequence" not in dataset or "StructureSetROISequence" not in dataset:
        raise BadImage(path, "it has no regions of interest; it may be truncated")


def _regions(path: Path, dataset: Any) -> tuple[Region, ...]:
    described: dict[int, Any] = {}
    for item in dataset.get("StructureSetROISequence") or []:
        number = _number(path, item.get("ROINumber"))
        if number in described:
            raise BadImage(path, f"two regions of interest have the number {number}")
        described[number] = item
    contours: dict[int, list[Any]] = {number: [] for number in described}
    for item in dataset.get("ROIContourSequence") or []:
        number = _number(path, item.get("ReferencedROINumber"))
        contours.setdefault(number, []).extend(item.get("ContourSequence") or [])
    if not contours:
        raise BadImage(path, "it has no regions of interest")
    regions = []
    for number, items in contours.items():
        about = described.get(number)
        name = str(about.get("ROIName") or "").strip() if about is not None else ""
        frame = str(about.get("ReferencedFrameOfReferenceUID") or "") if about is not None else ""
        regions.append(Region(number, name or f"ROI {number}", frame, tuple(items)))
    return tuple(regions)


def _number(path: Path, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadImage(path, "a region of interest has no number") from None


def _points(item: Any, path: Path, which: str) -> Array:
    """The points of a contour, (n, 3) in LPS millimetres; text is understood at once, not number by number."""
    raw = item.get_item(CONTOUR_DATA)
    if raw is None or raw.value is None:
        return np.zeros((0, 3))
    value = raw.value
    try:
        if isinstance(value, bytes):
            text = value.decode("ascii").strip(" \0")
            numbers = [float(part) for part in text.split("\\")] if text else []
        else:
            several = not isinstance(value, (str, float, int)) and hasattr(value, "__iter__")
            numbers = [float(part) for part in (value if several else [value])]
    except (ValueError, TypeError):
        raise BadImage(path, f"the points of {which} are not numbers") from None
    points = np.array(numbers, dtype=np.float64)
    if len(points) % 3:
        raise BadImage(path, f"{which} has {len(points)} numbers, which are not points of three each")
    if not (np.abs(points) < FARTHEST).all():
        raise BadImage(path, f"{which} has points that lie nowhere in a patient")
    stated = item.get("NumberOfContourPoints")
    if stated is not None and str(stated).strip().isdecimal() and int(stated) != len(points) // 3:
        raise BadImage(path, f"{which} has {len(points) // 3} points and says it has {int(stated)}")
    return points.reshape(-1, 3)
