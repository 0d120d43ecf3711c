"""Control charts of what readers change, by structure, by the version of the model and by scanner.

An alarm is a cumulative sum of sequential ranks, each among the same reader's cases: in docs/review_worth.md it sees a
planted switch of the model about as soon as the usual charts of single values, and cries wolf thirty times less often.
The usual limits and run rules (Western Electric, on a logarithmic scale) are shown beside it, as remarks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..state.records import ADJUDICATOR, NOT_ASSESSABLE
from .control import (
    BASELINE,
    WESTERN_ELECTRIC,
    Signal,
    cusum,
    cusum_path,
    individuals_limits,
    rank_scores,
    run_rules,
    share_limits,
)
from .facts import Fact

SLACK, DECISION = 0.4, 6.5
"""Of the cumulative sum: about one false alarm in 1,000 cases for one structure."""

FLOOR = 0.005
"""What is added to errors before their logarithm is taken, for masks that nobody changed."""

GROUP, TAIL = 20, 0.00135
"""Cases whose share is compared with that of the first ones, and how rare a share beyond the limits is."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is charted.

    Attributes:
        value: Of a fact; None where it has none.
        worse: The side on which a model, or its use, has become worse.
        limits: Low and high limit from the values of the baseline, on their own scale; None for none.
    """

    name: str
    title: str
    worse: str
    value: Callable[[Fact], float | None]
    limits: Callable[[Sequence[float]], tuple[float, float]] | None


@dataclass(frozen=True, slots=True)
class Point:
    """One case in a chart."""

    case: str
    reader: str
    when: str
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """One row of cases, in the order in which they were reviewed.

    Attributes:
        by: `structure`, `model` or `scanner`: what the cases have in common.
        group: The model's version or the scanner; empty where all cases are together.
        structure: Empty for what concerns a scan as a whole.
        decision: The sum at which it alarms.
        sums: Downwards and upwards, after each case.
        remarks: Signals of the usual run rules, which alarm nobody.
    """

    measure: Measure
    structure: str
    by: str
    group: str
    points: tuple[Point, ...]
    decision: float
    sums: tuple[tuple[float, float], ...]
    alarms: tuple[Signal, ...]
    remarks: tuple[Signal, ...]

    @property
    def baseline(self) -> dict[str, float | None] | None:
        """Median and limits of the first cases; None until there are enough of them."""
        values = [point.value for point in self.points[:BASELINE]]
        if len(values) < BASELINE:
            return None
        low, high = self.measure.limits(values) if self.measure.limits else (None, None)
        return {"n": BASELINE, "median": median(values), "low": low, "high": high}

    def sentence(self, signal: Signal) -> str:
        """What an alarm says, for people."""
        first, seen = self.points[signal.since], self.points[signal.index]
        of = f"{self.structure}: " if self.structure else ""
        where = f" ({self.by} {self.group})" if self.group else ""
        how = "worse" if signal.side == self.measure.worse else "better"
        return (
            f"{of}{self.measure.title}{where} has become {signal.side} ({how}) since about {first.case}; "
            f"seen at {seen.case}, after {signal.index - signal.since + 1} cases"
        )

    def document(self, points: bool = True) -> dict[str, Any]:
        """Plain values.

        Args:
            points: Give the single cases too.
        """
        whole = {
            "cases": [point.case for point in self.points],
            "values": [point.value for point in self.points],
            "sums": [[round(low, 3), round(high, 3)] for low, high in self.sums],
        }
        return {
            "measure": self.measure.name,
            "structure": self.structure,
            "by": self.by,
            "group": self.group,
            "n": len(self.points),
            "baseline": self.baseline,
            "decision": round(self.decision, 3),
            "alarms": [self._signal(signal) for signal in self.alarms],
            "run_rules": [self._signal(signal) for signal in self.remarks],
            **(whole if points else {}),
        }

    def _signal(self, signal: Signal) -> dict[str, Any]:
        point = self.points[signal.index]
        return {
            "case": point.case,
            "when": point.when,
            "index": signal.index,
            "since": self.points[signal.since].case,
            "rule": signal.rule,
            "side": signal.side,
            "worse": signal.side == self.measure.worse,
            "message": self.sentence(signal),
        }


def _error_limits(values: Sequence[float]) -> tuple[float, float]:
    """Three standard deviations on the logarithmic scale of errors, from moving ranges."""
    limits = individuals_limits([_error_scale(value) for value in values])
    low, high = (1.0 + FLOOR - math.exp(-bound) for bound in (limits.lower, limits.upper))
    return max(0.0, low), min(1.0, high)


def _error_scale(value: float) -> float:
    return -math.log(1.0 - value + FLOOR)


def _time_limits(values: Sequence[float]) -> tuple[float, float]:
    limits = individuals_limits([math.log(value + 1.0) for value in values])
    return max(0.0, math.exp(limits.lower) - 1.0), math.exp(min(limits.upper, 20.0)) - 1.0


def _share_limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = share_limits(round(sum(values)), len(values), GROUP, TAIL)
    return low / GROUP, high / GROUP


DICE = Measure("dice", "Dice-to-edit", "lower", lambda fact: fact.dice, _error_limits)
SURFACE_DICE = Measure("surface_dice", "surface-Dice-to-edit", "lower", lambda fact: fact.surface_dice, _error_limits)
ACCEPTED = Measure("accepted", "share accepted as it was", "lower", lambda fact: float(fact.kept), _share_limits)
SECONDS = Measure("seconds", "time per scan", "higher", lambda fact: fact.seconds, _time_limits)
MEASURES = (DICE, SURFACE_DICE, ACCEPTED)


def charts_of(facts: Sequence[Fact], seconds: Sequence[Fact] = ()) -> list[Chart]:
    """The charts of a review: each structure over all cases, by version of the model and by scanner.

    Args:
        facts: In the order of review. What an adjudicator decided, and what was not assessable, is in no chart.
        seconds: One fact for each scan and reader, with the seconds of the whole scan and no structure.
    """
    counted = [fact for fact in facts if fact.role != ADJUDICATOR and fact.verdict != NOT_ASSESSABLE]
    structures = list(dict.fromkeys(fact.structure for fact in counted))
    decision = decision_for(len(structures))
    charts = []
    for structure in structures:
        own = [fact for fact in counted if fact.structure == structure]
        for measure in MEASURES:
            charts += _grouped(measure, structure, own, decision)
    charts += _grouped(SECONDS, "", [fact for fact in seconds if fact.role != ADJUDICATOR], decision)
    return charts


def decision_for(structures: int) -> float:
    """The sum at which charts alarm: with more structures a larger one, so that all together cry wolf as often as one.

    The false alarms of a cumulative sum fall by the factor exp(2 k) with each unit of its decision value.
    """
    return DECISION + math.log(max(1, structures)) / (2 * SLACK)


def version_of(fact: Fact) -> str:
    """The version of a model in a word: its name and number, else the beginning of its hash."""
    return f"{fact.model} {fact.model_version or fact.model_hash[:12]}".strip() or "unknown"


def _grouped(measure: Measure, structure: str, facts: Sequence[Fact], decision: float) -> list[Chart]:
    groups: dict[tuple[str, str], list[Fact]] = {("structure", ""): list(facts)}
    keys: Mapping[str, Callable[[Fact], str]] = {"model": version_of, "scanner": lambda fact: fact.scanner}
    for by, key in keys.items():
        names = dict.fromkeys(key(fact) for fact in facts)
        for name in names if len(names) > 1 else ():
            groups[by, name] = [fact for fact in facts if key(fact) == name]
    rows = ((by, group, _points(measure, row)) for (by, group), row in groups.items())
    return [_chart(measure, structure, by, group, points, decision) for by, group, points in rows if points]


def _points(measure: Measure, facts: Iterable[Fact]) -> list[Point]:
    values = ((fact, measure.value(fact)) for fact in facts)
    return [Point(fact.case, fact.reader, fact.when, value) for fact, value in values if value is not None]


def _chart(measure: Measure, structure: str, by: str, group: str, points: Sequence[Point], decision: float) -> Chart:
    values = [point.value for point in points]
    scores = rank_scores(values, [point.reader for point in points])
    scale = _error_scale if measure.limits is _error_limits else lambda value: math.log(value + 1.0)
    remarks = [] if measure is ACCEPTED else run_rules([scale(value) for value in values], WESTERN_ELECTRIC)
    return Chart(
        measure=measure,
        structure=structure,
        by=by,
        group=group,
        points=tuple(points),
        decision=decision,
        sums=tuple(cusum_path(scores, SLACK, decision)),
        alarms=tuple(cusum(scores, SLACK, decision)),
        remarks=tuple(remarks),
    )
