"""Conformance checks of measurements: finite numbers with units in UCUM, of any structure, that no axis decides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..imaging.structures import Label, Labels
from ..imaging.volume import Array, Volume
from ..scoring.measuring import measure_values
from ..scoring.metric import Quantity
from .conformance import ConformanceCheck, Subject, require

LABELS = Labels((Label(1, "structure"),))
SPACING = (2.0, 1.5, 3.0)


def _each_quantity_is_complete(subject: Subject, folder: Path) -> None:
    require(subject.spec.units, "it names no units: it would never be asked")
    for unit, values, mask in _structures(subject):
        for quantity in _measured(subject, unit, values, mask):
            require(isinstance(quantity, Quantity), f"gives {type(quantity).__name__}, no Quantity")
            codes = [quantity.unit, *filter(None, (quantity.concept, quantity.derivation))]
            whole = all(len(code) == 3 and all(isinstance(part, str) and part for part in code) for code in codes)
            require(quantity.name and whole, f"{quantity.name}: a code is (value, scheme, meaning), each a text")
            require(quantity.unit[1] == "UCUM", f"{quantity.name}: its unit is of {quantity.unit[1]}, not of UCUM")


def _no_structure_is_too_odd(subject: Subject, folder: Path) -> None:
    for unit, values, mask in _structures(subject):
        before = values.copy()
        for quantity in _measured(subject, unit, values, mask):
            require(math.isfinite(quantity.value), f"{quantity.name} is {quantity.value}: leave it out")
        require(np.array_equal(before, values, equal_nan=True), "it changes the scan")


def _the_order_of_axes_does_not_matter(subject: Subject, folder: Path) -> None:
    for unit, values, mask in _structures(subject):
        plain = {one.name: one.value for one in _measured(subject, unit, values, mask)}
        turned = _measured(subject, unit, values.transpose(2, 0, 1)[::-1], mask.transpose(2, 0, 1)[::-1], (2, 0, 1))
        for one in turned:
            same = math.isclose(one.value, plain.get(one.name, math.nan), rel_tol=1e-6, abs_tol=1e-9)
            require(same, f"{one.name}: {plain.get(one.name)}, and {one.value} when turned")


def _measured(
    subject: Subject, unit: str, values: Array, mask: Array, axes: tuple[int, ...] = (0, 1, 2)
) -> list[Quantity]:
    """What it measures in a structure, through the engine, which names failures."""
    affine = np.diag([*(SPACING[axis] for axis in axes), 1.0])
    volume = Volume(np.ascontiguousarray(mask.astype(np.uint8)), affine)
    found = measure_values([(values, unit)], volume, LABELS, subject.catalogue, only=subject.chosen)
    require(not found.failures, "; ".join(found.failures))
    return found.quantities.get("structure", [])


def _structures(subject: Subject) -> Iterator[tuple[str, Array, Array]]:
    """A box, a single voxel, a voxel in a corner, all of the scan; in noise, and in values that are all the same."""
    noise = np.random.default_rng(0).gamma(2.0, 2.0, (14, 12, 10)).astype(np.float32)
    masks = [np.zeros(noise.shape, bool) for _ in range(4)]
    masks[0][3:9, 2:8, 4:7] = True
    masks[1][7, 6, 5] = masks[2][0, 0, 0] = True
    masks[3][:] = True
    for unit in subject.spec.units:
        for mask in masks:
            yield unit, noise, mask
            yield unit, np.zeros_like(noise), mask
            yield unit, (10 * noise).astype(np.int16), mask


CHECKS = {
    "measurement": [
        ConformanceCheck("each quantity has a name, and a unit in UCUM", _each_quantity_is_complete),
        ConformanceCheck("of any structure in any values its quantities are finite", _no_structure_is_too_odd),
        ConformanceCheck("it does not care in which order the axes lie", _the_order_of_axes_does_not_matter),
    ]
}
