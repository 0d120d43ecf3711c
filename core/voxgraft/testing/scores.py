"""Conformance checks of losses, metrics and measurements.

The right answer is better than a wrong one, whatever the image; what is measured is finite, has a unit in UCUM, and is
measured of any structure, whatever the order of axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..imaging.structures import Label, Labels
from ..imaging.volume import Array, Volume
from ..scoring.measuring import Quantity, measure_values
from .conformance import NotApplicable, Subject, check, require

LABELS = Labels((Label(1, "one"), Label(2, "two")))


@check("loss", "it falls on the way to the truth")
def _a_loss_falls_toward_the_truth(subject: Subject, folder: Path) -> None:
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    for shape in ((2, 9, 7), (1, 6, 5, 4)):
        target = torch.randint(0, 3, shape)
        right = functional.one_hot(target, 3).movedim(-1, 1).float()
        losses = [float(subject.build()(sharpness * right, target)) for sharpness in (-4.0, 0.0, 4.0, 20.0)]
        require(np.isfinite(losses).all(), f"it gives {losses}")
        require(
            losses == sorted(losses, reverse=True) and losses[0] > losses[-1], f"nearer the truth it gives {losses}"
        )


@check("loss", "its gradient is finite, for empty targets and huge logits too")
def _a_loss_has_a_finite_gradient(subject: Subject, folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    for target in (torch.zeros(2, 8, 8, dtype=torch.int64), torch.randint(0, 3, (2, 8, 8))):
        for scale in (0.0, 1.0, 1e4):
            logits = (scale * torch.randn(2, 3, 8, 8)).requires_grad_()
            subject.build()(logits, target).backward()
            require(logits.grad is not None and bool(torch.isfinite(logits.grad).all()), "its gradient is not finite")


@check("metric", "it is best for the reference itself")
def _a_metric_is_best_for_the_reference_itself(subject: Subject, folder: Path) -> None:
    reference = _boxes((14, 12, 10))
    best = _score(subject, reference, reference)
    if all(map(math.isnan, best.values())):
        raise NotApplicable("it says nothing about two masks alone")
    spoiled = {"moved": np.roll(reference, 4, 0), "grown": _boxes((14, 12, 10), 1), "missing": _boxes((14, 12, 10), -2)}
    sign = 1 if subject.spec.higher_is_better else -1
    for label, top in best.items():
        scores = {name: _score(subject, one, reference)[label] for name, one in spoiled.items()}
        for name, value in scores.items():
            require(
                not sign * value > sign * top, f"{label}: {value} for the {name} mask, {top} for the reference itself"
            )
        seen = any(sign * value < sign * top for value in scores.values())
        require(seen, f"{label}: {top} for the reference itself and for every spoiled mask")


@check("metric", "it does not care in which order the axes lie")
def _a_metric_does_not_care_how_the_volume_lies(subject: Subject, folder: Path) -> None:
    reference, prediction = _boxes((14, 12, 10)), _boxes((14, 12, 10), 1)
    spacing = (1.0, 0.5, 3.0)
    plain = _score(subject, prediction, reference, spacing)
    if all(map(math.isnan, plain.values())):
        raise NotApplicable("it says nothing about two masks alone")
    turned = _score(subject, prediction.transpose(2, 0, 1)[::-1], reference.transpose(2, 0, 1)[::-1], (3.0, 1.0, 0.5))
    for label, value in plain.items():
        require(math.isclose(value, turned[label], rel_tol=1e-6), f"{label}: {value}, and {turned[label]} when turned")


@check("metric", "for empty and full masks it is a number or not defined")
def _a_metric_of_nothing_is_a_number_or_not_defined(subject: Subject, folder: Path) -> None:
    full, empty = np.ones((5, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)
    single = empty.copy()
    single[2, 2, 1] = 1
    for prediction in (full, empty, single):
        for reference in (full, empty, single):
            for label, value in _score(subject, prediction, reference).items():
                require(not math.isinf(value), f"{label}: it is infinite")


def _score(
    subject: Subject, prediction: Array, reference: Array, spacing: tuple[float, ...] = (1, 1, 1)
) -> dict[str, float]:
    from ..scoring.case import score_case

    affine = np.diag([*spacing, 1.0])
    one, other = (Volume(np.ascontiguousarray(array), affine) for array in (prediction, reference))
    (values,) = score_case(one, other, LABELS, [subject.chosen]).values()
    return values


def _boxes(shape: tuple[int, ...], more: int = 0) -> Array:
    array = np.zeros(shape, np.uint8)
    array[2:6, 2 : 7 + more, 2:5] = 1
    array[8:11, 4:9, 4 : 8 + more] = 2
    return array


MEASURED = Labels((Label(1, "structure"),))
SPACING = (2.0, 1.5, 3.0)


@check("measurement", "each quantity has a name, and a unit in UCUM")
def _each_quantity_is_complete(subject: Subject, folder: Path) -> None:
    require(subject.spec.units, "it names no units: it would never be asked")
    for unit, values, mask in _structures(subject):
        for quantity in _measured(subject, unit, values, mask):
            require(isinstance(quantity, Quantity), f"gives {type(quantity).__name__}, no Quantity")
            codes = [quantity.unit, *filter(None, (quantity.concept, quantity.derivation))]
            whole = all(len(code) == 3 and all(isinstance(part, str) and part for part in code) for code in codes)
            require(quantity.name and whole, f"{quantity.name}: a code is (value, scheme, meaning), each a text")
            require(quantity.unit[1] == "UCUM", f"{quantity.name}: its unit is of {quantity.unit[1]}, not of UCUM")


@check("measurement", "of any structure in any values its quantities are finite")
def _no_structure_is_too_odd(subject: Subject, folder: Path) -> None:
    for unit, values, mask in _structures(subject):
        before = values.copy()
        for quantity in _measured(subject, unit, values, mask):
            require(math.isfinite(quantity.value), f"{quantity.name} is {quantity.value}: leave it out")
        require(np.array_equal(before, values, equal_nan=True), "it changes the scan")


@check("measurement", "it does not care in which order the axes lie")
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
    found = measure_values([(values, unit)], volume, MEASURED, subject.catalogue, only=subject.chosen)
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
