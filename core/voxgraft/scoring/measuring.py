"""What the engine asks of measurements, the spec by which plugins offer them, and every installed measurement on every
structure of a scan.

A measurement looks at the scan's values inside a structure that was found: the mean attenuation, the highest uptake. It
is asked only about values whose unit is known and is one of its own, so that nothing is measured in numbers that mean
nothing. What it finds goes into the report of a batch and into the DICOM structured report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..components.choice import Selected
    from ..imaging.structures import Labels
    from ..imaging.volume import Array, Volume

Code = tuple[str, str, str]
"""A coded term: value, scheme, meaning."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number that was measured.

    Attributes:
        name: What people call it, such as `SUVmax`; the key in `report.json` and the head of a column.
        unit: Its code in UCUM, such as `("mL", "UCUM", "milliliter")`.
        concept: What is measured, as a coded term of DICOM PS3.16; without one it is left out of DICOM reports.
        derivation: How it came from the voxels, such as `("56851009", "SCT", "Maximum")`.
    """

    name: str
    value: float
    unit: Code
    concept: Code | None = None
    derivation: Code | None = None

    def document(self) -> dict[str, Any]:
        """What `report.json` says of it; four digits behind the point."""
        return {"value": round(float(self.value), 4), "unit": self.unit[0]}


@dataclass(frozen=True, slots=True)
class Inside:
    """One structure in one channel of a scan, cropped to where it is.

    Attributes:
        values: The scan's voxels (i, j[, k]) of the structure's bounding box and of `margin_mm` around it, where the
            scan is as large.
        mask: Bool, of the same shape: where the structure is; never empty.
        spacing: Millimetres along i, j[, k].
        voxel_ml: Millilitres of a voxel; None in an image of two axes, and where nobody knows how large a voxel is.
        unit: Of the values: `HU`, `g/ml` and others that readers and modalities name.
    """

    values: Array
    mask: Array
    spacing: tuple[float, ...]
    voxel_ml: float | None
    unit: str


class Measurement(Protocol):
    """Measure a structure on the image."""

    def __call__(self, inside: Inside) -> Iterable[Quantity]:
        """What was measured; a quantity that is not defined for this structure is left out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSpec(Component[C, Measurement]):
    """A measurement, with the units of the values that it is asked about.

    Attributes:
        units: Such as `("HU",)` or `("g/ml",)`.
        margin_mm: So much of the scan around the structure's bounding box is shown to it.
    """

    kind = "measurement"

    units: tuple[str, ...]
    margin_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured in a scan.

    Attributes:
        quantities: Name of each structure that was found -> its quantities, each name once.
        failures: What could not be measured and why, a sentence each.
    """

    quantities: dict[str, list[Quantity]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def measure_values(
    channels: Sequence[tuple[Array, str]],
    mask: Volume,
    labels: Labels,
    catalogue: Catalogue,
    *,
    only: Selected[Any] | None = None,
) -> Measured:
    """Measure each structure in each channel whose values have a unit.

    Args:
        channels: The voxels (i, j[, k]) and the unit of each channel, in the grid of the mask; an empty unit leaves
            the channel out. Of several channels with one unit the first counts.
        mask: Label values (i, j[, k]), or 0 and 1 (structure, i, j[, k]).
        only: One measurement with its options, instead of all.
    """
    from ..imaging.structures import each_structure

    measured = Measured()
    known = dict(reversed([(unit, values) for values, unit in channels if unit]))
    specs: list[Any] = [only.component] if only else [spec for _, spec in catalogue.of("measurement")]
    pairs = [(spec, unit) for spec in specs for unit in known if unit in spec.units]
    for label, box, inside in each_structure(mask, labels) if pairs else ():
        if not inside.any():
            continue
        found: dict[str, Quantity] = {}
        for spec, unit in pairs:
            shown = _inside(known[unit], box, inside, mask, unit, spec.margin_mm)
            try:
                _keep((only or _chosen(spec.name, catalogue)).build()(shown), found)
            except (Exception, SystemExit) as error:  # a plugin may fail in any way; the mask is there all the same
                measured.failures.append(f"{label.name}: the measurement {spec.name!r} failed: {error}")
        measured.quantities[label.name] = list(found.values())
    return measured


def _chosen(name: str, catalogue: Catalogue) -> Selected[Any]:
    from ..components.choice import choose

    catalogue.get("measurement", name)  # two plugins that offer it are named
    return choose(catalogue, "measurement", {"use": name})


def _keep(quantities: Iterable[Quantity], found: dict[str, Quantity]) -> None:
    """Add quantities to those that were found.

    Raises:
        ValueError: One is not a finite number, or another measurement gave one of this name.
    """
    for quantity in quantities:
        if not math.isfinite(quantity.value):
            raise ValueError(f"{quantity.name} is {quantity.value}")
        if quantity.name in found:
            raise ValueError(f"{quantity.name} is measured twice")
        found[quantity.name] = quantity


def _inside(values: Array, box: tuple[slice, ...], inside: Array, mask: Volume, unit: str, margin: float) -> Inside:
    """What a measurement sees: the structure's box, and a margin in millimetres where the scan is as large."""
    import numpy as np

    steps = [math.ceil(margin / step) for step in mask.spacing]
    wide = tuple(
        slice(max(0, part.start - step), min(length, part.stop + step))
        for part, step, length in zip(box, steps, mask.shape, strict=True)
    )
    around = [(part.start - outer.start, outer.stop - part.stop) for part, outer in zip(box, wide, strict=True)]
    return Inside(
        values=values.reshape(mask.shape)[wide],
        mask=np.pad(inside, around),
        spacing=mask.spacing,
        voxel_ml=mask.voxel_ml if mask.dims == 3 and mask.sized else None,
        unit=unit,
    )
