"""Options of the RTSTRUCT writer and reader."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from voxgraft.plugin import Options


class RtstructOptions(Options):
    """Options of the RTSTRUCT writer."""

    holes: Literal["keyhole", "xor"] = "keyhole"
    """How a hole is drawn: joined to its outline by a channel without width, which is what the standard asks of
    CLOSED_PLANAR contours and what readers understand that fill each contour by itself; or as a contour of its own, for
    readers that combine contours by exclusive or."""

    manufacturer: Annotated[str, MinLen(1), MaxLen(64)] = "VoxGraft"
    """What the object says about its maker."""

    series_offset: Annotated[int, Ge(0)] = 9100
    """Added to the scan's series number."""


class RtstructReaderOptions(Options):
    """Options of the RTSTRUCT reader."""

    tolerance: Annotated[float, Gt(0), Le(0.5)] = 0.2
    """How far, in slices, a contour may lie from the slice it is assigned to."""

    boundary: Literal["inside", "outside"] = "inside"
    """Whether a voxel whose centre lies exactly on a contour counts as inside. Contours that run through the centres
    of the outermost voxels, as some programs write them, need `inside`."""

    gaps: Literal["leave", "interpolate"] = "leave"
    """What to put on slices without a contour between two that have one: nothing, or a shape half-way between them."""

    outside: Literal["refuse", "drop"] = "refuse"
    """What to do with contours beyond the edge of the scan."""
