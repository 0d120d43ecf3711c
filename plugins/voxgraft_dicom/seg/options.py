"""Options of the DICOM SEG writer and reader."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import model_validator

from voxgraft.plugin import Options


class SegOptions(Options):
    """Options of the DICOM SEG writer."""

    kind: Literal["binary", "labelmap"] = "binary"
    """`binary`: a bit plane for each structure, which every workstation reads; `labelmap`: one number per voxel,
    smaller, in a SOP class of 2024 that many workstations do not know yet."""

    compress: Literal["none", "rle"] = "none"
    """How a label map's pixels are compressed; bit planes are not."""

    manufacturer: Annotated[str, MinLen(1), MaxLen(64)] = "VoxGraft"
    """What the object says about its maker."""

    series_offset: Annotated[int, Ge(0)] = 9000
    """Added to the scan's series number, so that masks come after the scans in a list."""

    @model_validator(mode="after")
    def _bit_planes_stay_plain(self) -> SegOptions:
        if self.compress != "none" and self.kind != "labelmap":
            raise ValueError("only a label map can be compressed; set kind: labelmap, or compress: none")
        return self


class SegReaderOptions(Options):
    """Options of the DICOM SEG reader."""

    threshold: Annotated[float, Gt(0), Le(1)] = 0.5
    """A voxel of a FRACTIONAL segment counts as inside from this share of the highest value on."""

    tolerance: Annotated[float, Gt(0), Le(0.5)] = 0.1
    """How far, in voxels, a corner of a frame may lie from the voxel it is assigned to."""

    resample: bool = False
    """Resample an object with another grid onto the scan's by nearest neighbours instead of refusing it."""

    outside: Literal["refuse", "drop"] = "refuse"
    """What to do with an object whose voxels lie beyond the edge of the scan."""
