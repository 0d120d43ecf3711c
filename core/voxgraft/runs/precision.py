"""Half precision beside float32 on held-out cases: whether a package may be applied in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import VoxGraftError
from ..imaging.structures import Labels
from ..imaging.volume import Volume
from ..inference.device import choose_device
from ..inference.ensemble import predictor_of
from ..inference.precision import fast_precision
from ..packages.package import Package
from ..packages.precision import failed, judge
from ..scoring.case import measure_case
from ..scoring.pair import Counts
from .run import Run

TRIED = 8
"""Held-out cases that are segmented both ways: the difference on one case says more than the spread between cases.
Where none of them holds a structure, the first of the others that does is segmented too."""

Read = Callable[[str], tuple[Volume, Volume, Sequence[int]]]
"""Gives the scan of a case, its reference, and the channels that are missing."""


def try_half(run: Run, package: Package, labels: Labels, read: Read) -> dict[str, Any]:
    """Verdicts on the numbers that this run's device has units for, as `voxgraft.packages.precision` keeps them.

    Nothing is tried, and the answer is empty, where the workflow says in what numbers the model is to be applied.

    Args:
        package: The finished model.
        labels: The structures that are compared.
        read: Reads a held-out case.
    """
    options = run.workflow.inference
    precision = fast_precision(choose_device(options.device)) if options.precision == "auto" else None
    names = run.split.validation
    if precision is None or not names:
        return {}
    ways = {word: predictor_of(package, run.catalogue, device=options.device, precision=word) for word in ("32",)}
    ways[precision] = predictor_of(package, run.catalogue, device=options.device, precision=precision)
    counts: dict[str, list[Mapping[str, Counts]]] = {word: [] for word in ways}
    held: dict[str, bool] = {}
    cases = 0
    for name in run.progress.track(names, "trying half precision on held-out cases"):
        if cases >= TRIED and all(held.values()):
            break
        scan, reference, missing = read(name)
        nothing = Volume(np.zeros(reference.shape, np.uint8), reference.affine)  # what a region is painted with differs
        counted = measure_case(nothing, reference, labels, []).counts
        holds = {structure: one.referred > 0 for structure, one in counted.items()}
        if cases >= TRIED and not any(there and not held[structure] for structure, there in holds.items()):
            continue
        held = {structure: there or held.get(structure, False) for structure, there in holds.items()}
        cases += 1
        for word, predictor in ways.items():
            try:
                found = predictor.predict(scan, missing=missing)
            except (VoxGraftError, RuntimeError) as error:
                if word == "32":
                    raise
                return {precision: failed(f"{type(error).__name__} on {name}")}
            counts[word].append(measure_case(found.labels, reference, labels, []).counts)
    dice = {word: mean_dice(rows) for word, rows in counts.items()}
    unseen = [structure for structure, there in held.items() if not there and structure in dice["32"]]
    return {precision: judge(precision, dice["32"], dice[precision], cases, unseen)}


def mean_dice(cases: Sequence[Mapping[str, Counts]]) -> dict[str, float]:
    """The mean Dice of each structure over the cases in which it is defined; NaN where there is none."""
    values: dict[str, list[float]] = {}
    for counts in cases:
        for name, one in counts.items():
            both = one.predicted + one.referred
            values.setdefault(name, []).extend([2 * one.tp / both] if both else [])
    return {name: sum(row) / len(row) if row else math.nan for name, row in values.items()}
