"""Every installed measurement on every structure of a scan, as far as the units of its values are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..components.choice import choose
from ..imaging.structures import each_structure
from ..imaging.volume import Array, Volume
from .metric import Inside, Quantity

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..components.choice import Selected
    from ..imaging.structures import Labels


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
        labels: What is in it.
        catalogue: Offers the measurements.
        only: One measurement with its options, instead of all.
    """
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
        voxel_ml=mask.voxel_ml if mask.dims == 3 else None,
        unit=unit,
    )
