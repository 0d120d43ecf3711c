"""2D images: how large their pixels are, and where that was found."""

from __future__ import annotations

from typing import Any

import numpy as np

from voxgraft.plugin import Array, Problem

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving
from .header import Header

CENTIMETRES, TISSUE = 3, 1
"""Of ultrasound regions: the unit of their axes, and the format of a cut through tissue (PS3.3, C.8.5.5)."""


def pixel_size(header: Header) -> tuple[tuple[float, float], tuple[Problem, ...]]:
    """Millimetres between rows and between columns, with a warning where they are not those of the patient."""
    if (spacing := _positive(header, "PixelSpacing")) is not None:
        return spacing, ()
    if (spacing := _positive(header, "ImagerPixelSpacing")) is not None:
        text = "its pixel size is that of the detector (ImagerPixelSpacing), on which things are larger than they are"
        return spacing, (Problem("detector-spacing", text, "warning"),)
    if (spacing := _positive(header, "NominalScannedPixelSpacing")) is not None:
        text = "its pixel size is that of the scanned film (NominalScannedPixelSpacing)"
        return spacing, (Problem("scanned-spacing", text, "warning"),)
    if header.text("Modality") in ("US", "IVUS") and (spacing := _of_regions(header)) is not None:
        text = "its pixel size is that of its ultrasound regions, and true inside these only"
        return spacing, (Problem("region-spacing", text, "warning"),)
    text = "it does not say how large a pixel is; 1 mm is assumed"
    return (1.0, 1.0), (Problem("no-spacing", text, "warning"),)


def flat_affine(spacing: tuple[float, float]) -> Array:
    """4x4 from (column, row) to RAS millimetres, the axes as on a screen: to the patient's left and back."""
    return np.diag([-spacing[1], -spacing[0], 1.0, 1.0])


def _positive(header: Header, name: str) -> tuple[float, float] | None:
    numbers = header.numbers(name, 2)
    return (numbers[0], numbers[1]) if numbers is not None and min(numbers) > 0 else None


def _of_regions(header: Header) -> tuple[float, float] | None:
    """The pixel size that all cuts through tissue of an ultrasound image share."""
    try:
        with forgiving():
            dataset = read_dicom(header.path, pixels=False)
            regions = [region for region in dataset.get("SequenceOfUltrasoundRegions") or [] if _is_tissue(region)]
            sizes = [
                (abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10) for region in regions
            ]
    except Exception:  # pydicom fails in many ways on what is badly written; the size is then not known
        return None
    if not sizes or min(min(size) for size in sizes) <= 0:
        return None
    same = all(abs(a - b) <= 1e-3 * b for size in sizes for a, b in zip(size, sizes[0], strict=True))
    return sizes[0] if same else None


def _is_tissue(region: Any) -> bool:
    units = {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")}
    return units == {CENTIMETRES} and region.get("RegionSpatialFormat") == TISSUE
