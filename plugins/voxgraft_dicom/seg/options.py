"""Options of the DICOM SEG writer and reader."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import model_validator

from voxgraft.plugin import Options


class SegOptions(Options):
    """Options of the DICOM SEG writer."""

    kind: Literal["binary", "labelmap"] = "binary"
    """`binary`: a bit plane for each structure, which every workstation reads; `labelmap`: one number a voxel, smaller
    to handle, in a SOP class of 2024 that many do not know yet."""

    compress: Literal["none", "rle"] = "none"
    """How a label map's pixels are compressed; bit planes are not."""

    manufacturer: Annotated[str, MinLen(1), MaxLen(64)] = "VoxGraft"
    """What the object says of its maker."""

    series_offset: Annotated[int, Ge(0)] = 9000
    """Added to the scan's series number, so that masks stand behind the scans in a list."""

    @model_validator(mode="after")
    def _bit_planes_stay_plain(self) -> SegOptions:
        if self.compress != "none" and self.kind != "labelmap":
            raise ValueError("only a label map can be compressed; say kind: labelmap, or compress: none")
        return self


class SegReaderOptions(Options):
    """Options of the DICOM SEG reader."""

    threshold: Annotated[float, Gt(0), Le(1)] = 0.5
    """The share of the highest value from which a voxel of a FRACTIONAL segment counts as inside."""

    tolerance: Annotated[float, Gt(0), Le(0.5)] = 0.1
    """How far, in voxels, a corner of a frame may lie beside the voxel it is taken for."""

    resample: bool = False
    """Bring an object that lies in another grid onto the scan's by nearest neighbours instead of refusing it."""

    outside: Literal["refuse", "drop"] = "refuse"
    """What becomes of an object whose voxels lie beyond the edge of the scan."""
