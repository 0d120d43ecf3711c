"""Mean and standard deviation of what a structure holds (PS3.16, CID 7464), in CT and in PET."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from voxgraft.plugin import Code, Inside, Options, Quantity

MEAN: Code = ("373098007", "SCT", "Mean")
DEVIATION: Code = ("386136009", "SCT", "Standard Deviation")
KINDS: dict[str, tuple[str, str, Code, Code]] = {
    "HU": (
        "HU mean",
        "HU deviation",
        ("112031", "DCM", "Attenuation Coefficient"),
        ("[hnsf'U]", "UCUM", "Hounsfield unit"),
    ),
    "g/ml": (
        "SUVmean",
        "SUV deviation",
        ("126401", "DCM", "SUVbw"),
        ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"),
    ),
}
"""By the unit of the values: the names of both quantities, what is measured, and its unit in UCUM."""


class Values:
    """Voxels that are not finite numbers are left out."""

    def __init__(self, options: Options) -> None:
        """Without options."""

    def __call__(self, inside: Inside) -> Iterator[Quantity]:
        voxels = inside.values[inside.mask].astype(np.float64)
        voxels = voxels[np.isfinite(voxels)]
        if not voxels.size:
            return
        mean, deviation, concept, unit = KINDS[inside.unit]
        yield Quantity(mean, float(voxels.mean()), unit, concept, MEAN)
        yield Quantity(deviation, float(voxels.std()), unit, concept, DEVIATION)
