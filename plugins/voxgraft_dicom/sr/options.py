"""Options of the measurement report."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, MaxLen, MinLen

from voxgraft.plugin import Options


class ReportOptions(Options):
    """Options of the measurement report."""

    segmentation: Literal["binary", "labelmap"] = "binary"
    """The kind of DICOM SEG that the report refers to: as set for the writer `dicom-seg`."""

    intensities: bool = True
    """Measure the values of scans that have a unit, CT and PET in SUV, with every measurement that is installed."""

    manufacturer: Annotated[str, MinLen(1), MaxLen(64)] = "VoxGraft"
    """What the object says about its maker."""

    series_offset: Annotated[int, Ge(0)] = 9200
    """Added to the scan's series number."""
