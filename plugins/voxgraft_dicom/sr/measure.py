"""What is measured in each structure: its volume or area, and the scan's values where they have a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxgraft.plugin import Array, Volume

from ..objects.segments import Segments
from ..objects.terms import Code

HOUNSFIELD: tuple[Code, Code] = (
    ("112031", "DCM", "Attenuation Coefficient"),
    ("[hnsf'U]", "UCUM", "Hounsfield unit"),
)
SUV: tuple[Code, Code] = (("126401", "DCM", "SUVbw"), ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"))


@dataclass(frozen=True, slots=True)
class Measured:
    """One structure.

    Attributes:
        ml, mm2: Its volume in a 3D scan, its area in a picture; the other is None.
        mean, deviation: Of the scan's values inside it; None where nothing was found, or they have no unit.
        slices: The slices that hold some of it.
    """

    voxels: int
    ml: float | None
    mm2: float | None
    mean: float | None
    deviation: float | None
    slices: tuple[int, ...]


def quantity_of(scan: Volume, uptake: str) -> tuple[Code, Code] | None:
    """What the values of a scan are and their unit, where they have one.

    Args:
        uptake: The kind of SUV that the header names (SUVType); body weight where it is blank.
    """
    item = scan.item
    if item is None or scan.channels != 1:
        return None
    if item.modality == "CT":
        return HOUNSFIELD
    in_suv = item.modality == "PT" and item.facts.get("units") == "g/ml" and uptake.upper() in ("", "BW")
    return SUV if in_suv else None


def measured(segments: Segments, mask: Volume, scan: Array | None) -> Sequence[Measured]:
    """Measure each segment.

    Args:
        scan: The scan's values (i, j[, k]); None to leave them out.
    """
    measurements = []
    for number in range(1, segments.count + 1):
        slices = [int(k) for k in np.flatnonzero(segments.found[number - 1])]
        planes = [(k, segments.plane(number, k).T) for k in slices]
        voxels = sum(int(np.count_nonzero(plane)) for _, plane in planes)
        mean = deviation = None
        if scan is not None and voxels:
            image = scan.reshape((*mask.shape, 1)[:3])
            values = np.concatenate([image[:, :, k][plane] for k, plane in planes]).astype(np.float64)
            mean, deviation = float(values.mean()), float(values.std())
        flat = mask.dims == 2
        area = round(voxels * float(np.prod(mask.spacing)), 3) if flat else None
        volume = None if flat else round(voxels * mask.voxel_ml, 4)
        measurements.append(Measured(voxels, volume, area, mean, deviation, tuple(slices)))
    return measurements
