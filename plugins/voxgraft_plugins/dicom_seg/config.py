"""Options of the DICOM SEG writer."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, MaxLen, MinLen

from voxgraft.config import Config


class SegConfig(Config):
    """Options of the DICOM SEG writer."""

    manufacturer: Annotated[str, MinLen(1), MaxLen(64)] = "VoxGraft"
    """What the object says of its maker."""

    series_offset: Annotated[int, Ge(0)] = 9000
    """Added to the scan's series number, so that masks stand behind the scans in a list."""
