"""Faster ways of prediction beside the plain one on held-out cases: whether a package may be applied so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import VoxGraftError
from ..imaging.structures import Labels
from ..imaging.volume import Volume
from ..inference.precision import fast_precision
from ..inference.predictor import Applied, predictor_of
from ..packages.facts import BODY, failed, joined, judge
from ..packages.package import Package
from ..preprocessing.modality import ShowsBody
from ..scoring.case import measure_case
from ..scoring.pair import Counts
from ..support.machine import choose_device
from .run import Run

TRIED = 8
"""Held-out cases that are segmented both ways: the difference on one case says more than the spread between cases.
Where none of them holds a structure, the first of the others that does is segmented too."""
BOTH = "both"
"""The body alone, in half precision: each may change little and the two together more."""

Read = Callable[[str], tuple[Volume, Volume, Sequence[int]]]
"""Gives the scan of a case, its reference, and the channels that are missing."""
Tallied = Mapping[str, Counts]


@dataclass(slots=True)
class Way:
    """A faster way, and what it found beside the plain one, case by case.

    Attributes:
        held: Of each structure, whether a case that was tried holds it.
        reason: Why it cannot be used at all.
    """

    predictor: Applied
    plain: list[Tallied] = field(default_factory=list)
    fast: list[Tallied] = field(default_factory=list)
    held: dict[str, bool] = field(default_factory=dict)
    reason: str = ""

    def found(self, name: str, scan: Volume, missing: Sequence[int]) -> Volume | None:
        """The mask of a case; None once the way has failed.

        Args:
            name: The case, for what is said of a failure.
            scan: Its channels on one grid.
            missing: The channels that it does not have.
        """
        try:
            return self.predictor.predict(scan, missing=missing).labels
        except (VoxGraftError, RuntimeError) as error:
            self.reason = f"{type(error).__name__} on {name}"
            return None

    def verdict(self, word: str) -> dict[str, Any]:
        """As `voxgraft.packages.facts` keeps it; empty where no case said anything."""
        if self.reason:
            return failed(self.reason)
        if not self.plain:
            return {}
        plain, fast = mean_dice(self.plain), mean_dice(self.fast)
        unseen = [name for name, there in self.held.items() if not there and name in plain]
        lost = {
            name
            for wanted, found in zip(self.plain, self.fast, strict=True)
            for name, counts in wanted.items()
            if counts.tp and not found[name].tp
        }
        return judge(word, plain, fast, len(self.plain), unseen, sorted(lost))


def try_shortcuts(run: Run, package: Package, labels: Labels, read: Read) -> dict[str, Any]:
    """What is kept among the facts of a package: `precision`, verdicts on the numbers that this run's device has units
    for, and `body`, the verdict on searching the body alone.

    What the workflow decides by itself is not tried, and has no verdict. Where half precision is allowed, searching the
    body alone must agree with the plain way in float32 and in half precision.

    Args:
        package: The finished model.
        labels: The structures that are compared.
        read: Reads a held-out case.
    """
    options = run.workflow.inference
    numbers = fast_precision(choose_device(options.device)) if options.precision == "auto" else None
    names = run.split.validation
    half = [] if numbers is None else [(BOTH, {"precision": numbers})]
    wanted = {} if numbers is None else {numbers: {"precision": numbers, "body": "off"}}
    if options.body == "auto" and isinstance(run.workflow.data.modality.build(), ShowsBody):
        wanted |= {word: {**how, "body": "on"} for word, how in ((BODY, {"precision": "32"}), *half)}
    if not wanted or not names:
        return {"precision": {}, BODY: {}}

    def predictor(precision: str, body: str) -> Applied:
        return predictor_of(package, run.catalogue, device=options.device, precision=precision, body=body)

    plain = predictor("32", "off")
    ways = {word: Way(predictor(**how)) for word, how in wanted.items()}
    held: dict[str, bool] = {}
    cases = 0
    for name in run.progress.track(names, "trying faster prediction on held-out cases"):
        if cases >= TRIED and all(held.values()):
            break
        scan, reference, missing = read(name)
        nothing = Volume(np.zeros(reference.shape, np.uint8), reference.affine)  # what a region is painted with differs
        counted = measure_case(nothing, reference, labels, []).counts
        holds = {structure: one.referred > 0 for structure, one in counted.items()}
        if cases >= TRIED and not any(there and not held[structure] for structure, there in holds.items()):
            continue
        held = _either(held, holds)
        cases += 1
        able = [
            way
            for word, way in ways.items()
            if not way.reason and (word not in (BODY, BOTH) or way.predictor.saves(scan, missing))
        ]
        masks = [way.found(name, scan, missing) for way in able]
        if all(mask is None for mask in masks):
            continue
        tallied = measure_case(plain.predict(scan, missing=missing).labels, reference, labels, []).counts
        for way, mask in zip(able, masks, strict=True):
            if mask is not None:
                way.plain.append(tallied)
                way.fast.append(measure_case(mask, reference, labels, []).counts)
                way.held = _either(way.held, holds)
    verdicts = {word: verdict for word, way in ways.items() if (verdict := way.verdict(word))}
    body, both = (verdicts.pop(word, {}) for word in (BODY, BOTH))
    if body and both and verdicts[str(numbers)]["agrees"]:
        broken = next((one for one in (body, both) if "reason" in one), None)
        body = broken or {**joined([body, both]), "cases": body["cases"], "dice": body["dice"]}
    return {"precision": verdicts, BODY: body}


def _either(one: Mapping[str, bool], other: Mapping[str, bool]) -> dict[str, bool]:
    return {name: there or one.get(name, False) for name, there in other.items()}


def mean_dice(cases: Sequence[Tallied]) -> dict[str, float]:
    """The mean Dice of each structure over the cases in which it is defined; NaN where there is none."""
    values: dict[str, list[float]] = {}
    for counts in cases:
        for name, one in counts.items():
            both = one.predicted + one.referred
            values.setdefault(name, []).extend([2 * one.tp / both] if both else [])
    return {name: sum(row) / len(row) if row else math.nan for name, row in values.items()}
