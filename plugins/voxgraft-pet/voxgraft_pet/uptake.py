"""What is measured of a tumour's uptake: metabolic volume, total lesion glycolysis, the highest value, the peak.

The peak is the highest mean of all spheres of 1 cm3 whose centre is a voxel of the structure (Wahl et al., PERCIST 1.0,
J Nucl Med 2009, 50 Suppl 1:122S): it hardly depends on noise, as the highest voxel does. A sphere may reach beyond the
structure, never beyond the scan. Voxels count by the part of them that lies in the sphere, so that it has 1 cm3 on any
grid. Concepts: PS3.16, CID 7466 (volume, glycolysis), CID 7464 (maximum, peak) and CID 7469 (uptake values).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgraft.plugin import Code, Inside, Options, Quantity

Floats = NDArray[np.float64]

RADIUS = 10.0 * (3 / (4 * pi)) ** (1 / 3)
"""Millimetres of a sphere of 1 cm3: 6.2."""
PART, FEWEST = 0.5, 4
"""A voxel is divided into parts of at most so many millimetres, and into so many along each axis at least, to see how
much of it lies in a sphere."""
WHOLE = 0.999
"""A sphere counts with this much of its volume in the scan; the rest is rounding."""

ML: Code = ("mL", "UCUM", "milliliter")
VOLUME: Code = ("126032", "DCM", "Metabolic Volume")
GLYCOLYSIS: Code = ("126033", "DCM", "Total Lesion Glycolysis")
MEAN: Code = ("373098007", "SCT", "Mean")
MAXIMUM: Code = ("56851009", "SCT", "Maximum")
PEAK: Code = ("126031", "DCM", "Peak Value Within ROI")


@dataclass(frozen=True, slots=True)
class Kind:
    """Uptake related to one size of the body.

    Attributes:
        name: How its quantities begin: SUV by weight, SUL by lean mass.
        unit: Of uptake.
        total: The unit of uptake times volume.
    """

    name: str
    concept: Code
    unit: Code
    total: Code = ("g", "UCUM", "gram")


KINDS = {
    "g/ml": Kind(
        "SUV",
        ("126401", "DCM", "SUVbw"),
        ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"),
    ),
    "g/ml LBMJANMA": Kind(
        "SUL",
        ("126405", "DCM", "SUVlbm(Janma)"),
        ("{SUVlbm(Janma)}g/ml", "UCUM", "Standardized Uptake Value lean body mass (Janma)"),
    ),
    "g/ml LBMJAMES128": Kind(
        "SUL",
        ("126406", "DCM", "SUVlbm(James128)"),
        ("{SUVlbm(James128)}g/ml", "UCUM", "Standardized Uptake Value lean body mass (James 128 multiplier)"),
    ),
    "cm2/ml BSA": Kind(
        "SUVbsa ",
        ("126403", "DCM", "SUVbsa"),
        ("{SUVbsa}cm2/ml", "UCUM", "Standardized Uptake Value body surface area"),
        ("cm2", "UCUM", "square centimeter"),
    ),
}
"""By the unit of the values, as the DICOM reader names it."""


class Uptake:
    """Volume, glycolysis, maximum and peak; the mean too where VoxGraft does not give it itself."""

    def __init__(self, options: Options) -> None:
        """Without options."""

    def __call__(self, inside: Inside) -> Iterator[Quantity]:
        """Voxels that are not finite numbers are left out, and spheres with one of them."""
        kind = KINDS[inside.unit]
        values = inside.values.astype(np.float64)
        voxels = values[inside.mask & np.isfinite(values)]
        if inside.voxel_ml is None or not voxels.size:
            return
        volume = float(np.count_nonzero(inside.mask)) * inside.voxel_ml
        mean = float(voxels.mean())
        if inside.unit != "g/ml":
            yield Quantity(f"{kind.name}mean", mean, kind.unit, kind.concept, MEAN)
        yield Quantity(f"{kind.name}max", float(voxels.max()), kind.unit, kind.concept, MAXIMUM)
        peak = highest_mean(values, inside.mask, inside.spacing)
        if peak is not None:
            yield Quantity(f"{kind.name}peak", peak, kind.unit, kind.concept, PEAK)
        yield Quantity("MTV", volume, ML, VOLUME)
        yield Quantity("TLG", mean * volume, kind.total, GLYCOLYSIS)


def highest_mean(values: Floats, mask: NDArray[np.bool_], spacing: Sequence[float]) -> float | None:
    """The highest mean of the spheres of 1 cm3 around voxels of a mask; None where none lies in the scan.

    Args:
        values: Voxels (i, j, k), with what spheres at the rim of the mask reach.
        mask: Bool, of the same shape.
        spacing: Millimetres along i, j, k.
    """
    from scipy.signal import fftconvolve

    sphere = part_in_sphere(spacing)
    finite = np.isfinite(values)
    inside = fftconvolve(finite.astype(np.float64), sphere, mode="same")
    total = fftconvolve(np.where(finite, values, 0.0), sphere, mode="same")
    whole = mask & (inside > WHOLE * sphere.sum())
    return float((total[whole] / inside[whole]).max()) if whole.any() else None


def part_in_sphere(spacing: Sequence[float]) -> Floats:
    """How much of each voxel lies in a sphere of 1 cm3 around the middle of the middle one; odd sizes."""
    halves = [int(RADIUS / step + 0.5) for step in spacing]
    parts = [max(FEWEST, ceil(step / PART)) for step in spacing]
    points = [
        (np.arange(-half * part, (half + 1) * part) + 0.5 - part / 2) / part * step
        for half, part, step in zip(halves, parts, spacing, strict=True)
    ]
    squares: Any = np.meshgrid(*(axis**2 for axis in points), indexing="ij", sparse=True)
    within = sum(squares) <= RADIUS**2
    sizes = [n for half, part in zip(halves, parts, strict=True) for n in (2 * half + 1, part)]
    shares: Floats = within.reshape(sizes).mean(axis=(1, 3, 5))
    return shares
