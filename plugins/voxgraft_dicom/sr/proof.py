"""The size of each structure, and the proof of a report: the file, read back, must say what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import DataError, Volume

from ..objects.segments import Segments
from ..objects.terms import Code

TRACKING = "112039"
VOLUME: Code = ("118565006", "SCT", "Volume")
AREA: Code = ("42798000", "SCT", "Area")
MILLILITRES: Code = ("mL", "UCUM", "milliliter")
SQUARE_MILLIMETRES: Code = ("mm2", "UCUM", "square millimeter")
VOXELS: Code = ("{voxels}", "UCUM", "voxels")
PIXELS: Code = ("{pixels}", "UCUM", "pixels")


@dataclass(frozen=True, slots=True)
class Size:
    """One structure: its volume in a 3D scan, its area in a picture; counted where nobody knows how large a voxel is.

    Attributes:
        concept: What was measured, as a coded term.
        unit: Of the value, in UCUM.
    """

    value: float
    concept: Code
    unit: Code


def sizes_of(segments: Segments, mask: Volume) -> Sequence[Size]:
    """The size of each segment.

    Args:
        mask: What the segments are of.
    """
    flat = mask.dims == 2
    concept, unit = (AREA, SQUARE_MILLIMETRES) if flat else (VOLUME, MILLILITRES)
    one, digits = (float(np.prod(mask.spacing)), 3) if flat else (mask.voxel_ml, 4)
    if not mask.sized:
        unit, one = PIXELS if flat else VOXELS, 1.0
    sizes = []
    for number in range(1, segments.count + 1):
        slices = [int(k) for k in np.flatnonzero(segments.found[number - 1])]
        voxels = sum(int(np.count_nonzero(segments.plane(number, k))) for k in slices)
        sizes.append(Size(round(voxels * one, digits), concept, unit))
    return sizes


def prove(path: Path, measurements: Sequence[Size], names: Sequence[str]) -> None:
    """Compare the volumes and areas in a written report with what was measured.

    Args:
        path: The file that was written.
        measurements: Volumes and areas.
        names: Of the structures, in the order of the report.

    Raises:
        DataError: One is missing or another.
    """
    stated = sizes_in(path)
    if len(stated) != len(measurements):
        raise DataError(f"the written report has {len(stated)} structures, {len(measurements)} were measured")
    for (name, size), measurement, expected in zip(stated, measurements, names, strict=True):
        meant = measurement.value
        if name != expected or size is None or abs(size - meant) > 1e-6 * max(1.0, meant):
            raise DataError(f"the written report says {size} of {expected!r}, {meant} was measured")


def sizes_in(path: Path) -> list[tuple[str, float | None]]:
    """The name of each structure in a report, and its volume or area."""
    from pydicom import dcmread

    return [_size(group) for group in _groups(dcmread(path))]


def _groups(item: Any) -> list[Any]:
    """The measurement groups of a report: the containers that have a tracking identifier."""
    groups = []
    for child in item.get("ContentSequence") or []:
        codes = [_code(code) for code in child.get("ContentSequence") or []]
        groups += [child] if TRACKING in codes else _groups(child)
    return groups


def _size(group: Any) -> tuple[str, float | None]:
    name, size = "", None
    for item in group.ContentSequence:
        if _code(item) == TRACKING:
            name = str(item.TextValue)
        elif _code(item) in (VOLUME[0], AREA[0]):
            size = float(item.MeasuredValueSequence[0].NumericValue)
    return name, size


def _code(item: Any) -> str:
    codes = item.get("ConceptNameCodeSequence") or []
    return str(codes[0].get("CodeValue", "")) if codes else ""
