"""Control charts for a row of cases: limits from the first ones, the usual run rules, and cumulative sums of ranks.

What reviewers do to masks is skewed, has a peak at "nothing was changed", and is known from few cases when a chart
begins. `voxgraft.review.worth.charts` says which of these designs is used, and docs/review_worth.md what each costs.

Sources: the zone tests of the Western Electric Statistical Quality Control Handbook (1956); limits from moving ranges
as in Montgomery, Introduction to Statistical Quality Control; the cumulative sum of sequential ranks of McDonald, Naval
Research Logistics 37 (1990) 627.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

BASELINE = 20
"""Cases from which limits are taken; none of them alarms."""

MOVING_RANGE = 1.128
"""The mean range of two normal values of standard deviation 1 (d2 for n = 2)."""

CLIP = 2.0
"""The largest score of a rank: where most masks are left as they are, a single corrected one says no more."""

Side = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Signal:
    """A chart says that something has changed.

    Attributes:
        index: The place of the value that made it do so, from 0.
        rule: Which rule was met.
        side: Whether values have become lower or higher.
        since: The place from which on they seem to have changed.
    """

    index: int
    rule: str
    side: Side
    since: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Where values of a stable process lie: three standard deviations about the centre."""

    centre: float
    sigma: float

    @property
    def lower(self) -> float:
        return self.centre - 3 * self.sigma

    @property
    def upper(self) -> float:
        return self.centre + 3 * self.sigma


def individuals_limits(values: Sequence[float]) -> Limits:
    """Limits of an individuals chart: the mean, and the mean moving range of two over d2.

    Args:
        values: Of the baseline, in the order in which they came; at least two.
    """
    ranges = [abs(value - other) for other, value in pairwise(values)]
    return Limits(math.fsum(values) / len(values), math.fsum(ranges) / len(ranges) / MOVING_RANGE)


Rule = tuple[str, int, Callable[[Sequence[float]], int]]
"""A name, how many of the latest standardised values it looks at, and what it finds: -1 lower, 1 higher, 0 nothing."""


def beyond_zone(least: int, beyond: float) -> Callable[[Sequence[float]], int]:
    """A test: so many of the values, the last among them, lie so many standard deviations to one side."""

    def test(window: Sequence[float]) -> int:
        for side in (-1, 1):
            if sum(side * value > beyond for value in window) >= least and side * window[-1] > beyond:
                return side
        return 0

    return test


LIMIT: tuple[Rule, ...] = (("beyond 3 sigma", 1, beyond_zone(1, 3)),)
WESTERN_ELECTRIC: tuple[Rule, ...] = (
    *LIMIT,
    ("2 of 3 beyond 2 sigma", 3, beyond_zone(2, 2)),
    ("4 of 5 beyond 1 sigma", 5, beyond_zone(4, 1)),
    ("8 on one side", 8, beyond_zone(8, 0)),
)


def run_rules(values: Sequence[float], rules: Sequence[Rule] = LIMIT) -> list[Signal]:
    """The signals of an individuals chart with limits from the first values; after each the rules begin anew.

    Args:
        values: In the order in which they came.
        rules: `LIMIT`, `WESTERN_ELECTRIC`, or others.
    """
    if len(values) <= BASELINE:
        return []
    limits = individuals_limits(values[:BASELINE])
    sigma = limits.sigma or 1e-12  # a baseline without any spread: every other value is beyond it
    standard = [(value - limits.centre) / sigma for value in values]
    signals, start = [], BASELINE
    for index in range(BASELINE, len(values)):
        for name, length, test in rules:
            if index + 1 - start >= length and (side := test(standard[index + 1 - length : index + 1])):
                signals.append(Signal(index, name, "lower" if side < 0 else "higher", index + 1 - length))
                start = index + 1
                break
    return signals


def cusum(scores: Sequence[float], slack: float, decision: float) -> list[Signal]:
    """The signals of the two cumulative sums of standardised values; after each one both begin anew.

    Args:
        scores: Of mean 0 and standard deviation 1 while nothing changes.
        slack: What is taken from each score, half of the shift that is to be seen.
        decision: The sum at which it signals.
    """
    return [signal for signal, _, _ in _sums(scores, slack, decision) if signal is not None]


def cusum_path(scores: Sequence[float], slack: float, decision: float) -> list[tuple[float, float]]:
    """The sums downwards and upwards after each value, for a picture; 0 in the baseline.

    Args:
        scores: Of the values, in their order; about 0 with a spread of 1 while nothing changes.
        slack: Taken off each score before it is added.
        decision: Where a sum stops, as an alarm does.
    """
    path = [(low, high) for _, low, high in _sums(scores, slack, decision)]
    return [(0.0, 0.0)] * min(BASELINE, len(scores)) + path


def _sums(scores: Sequence[float], slack: float, decision: float) -> Iterator[tuple[Signal | None, float, float]]:
    low = high = 0.0
    falling = rising = BASELINE
    for index in range(BASELINE, len(scores)):
        low, high = max(0.0, low - scores[index] - slack), max(0.0, high + scores[index] - slack)
        falling, rising = (falling if low else index + 1), (rising if high else index + 1)
        signal = None
        if max(low, high) > decision:
            side: tuple[Side, int] = ("lower", falling) if low > high else ("higher", rising)
            signal = Signal(index, "cumulative sum", *side)
        yield signal, low, high
        if signal is not None:
            low = high = 0.0
            falling = rising = index + 1


def rank_scores(values: Sequence[float], strata: Sequence[str] = ()) -> list[float]:
    """The sequential rank of each value, among those until then, as a score of mean 0 and standard deviation 1.

    While nothing changes the ranks are independent and uniform whatever the distribution is, so that limits need no
    guess at it. Of equal values each gets the middle rank, and the spread is that of ranks with so many equal ones.

    Args:
        values: In the order in which they came.
        strata: Whose value each is, such as the reader: ranks are those among values of the same stratum, so that
            habits of readers who take turns are not a change. By default all are of one.
    """
    known: dict[str, list[float]] = {}
    tied: dict[str, float] = {}
    scores = []
    for value, stratum in zip(values, strata or [""] * len(values), strict=True):
        row = known.setdefault(stratum, [])
        below, equal = bisect_left(row, value), bisect_right(row, value) - bisect_left(row, value)
        insort(row, value)
        tied[stratum] = tied.get(stratum, 0.0) + 3 * equal * (equal + 1)  # the change of t^3 - t from t to t + 1
        n = len(row)
        variance = (n * n - 1 - tied[stratum] / n) / 12
        middle = below + 1 + equal / 2
        score = (middle - (n + 1) / 2) / math.sqrt(variance) if variance > 1e-9 else 0.0
        scores.append(max(-CLIP, min(CLIP, score)))
    return scores


def share_limits(accepted: int, baseline: int, group: int, tail: float) -> tuple[int, int]:
    """The lowest and highest number of accepted cases in a group that is not a signal.

    Args:
        accepted: Of the baseline.
        baseline: Cases of it.
        group: Cases in a group.
        tail: How rare a number is beyond a limit, on either side.
    """
    from scipy.stats import betabinom

    a, b = accepted + 0.5, baseline - accepted + 0.5
    return int(betabinom.ppf(tail, group, a, b)), group - int(betabinom.ppf(tail, group, b, a))
