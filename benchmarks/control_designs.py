"""Designs of control charts that were tried and are not used: Nelson's rules, moving averages, charts of shares.

Sources: Nelson, Journal of Quality Technology 16 (1984) 237; EWMA as in Montgomery, Introduction to Statistical Quality
Control. `control_charts.py` compares them with those of `voxgraft.review.worth.control`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from voxgraft.review.worth.control import (
    BASELINE,
    LIMIT,
    Rule,
    Side,
    Signal,
    beyond_zone,
    individuals_limits,
    share_limits,
)


def _trend(window: Sequence[float]) -> int:
    steps = [value - other for other, value in pairwise(window)]
    return 1 if all(step > 0 for step in steps) else -1 if all(step < 0 for step in steps) else 0


def _alternating(window: Sequence[float]) -> int:
    steps = [value - other for other, value in pairwise(window)]
    turns = all(step * other < 0 for other, step in pairwise(steps))
    return _side_of(window) if turns else 0


def _hugging(window: Sequence[float]) -> int:
    return _side_of(window) if all(abs(value) < 1 for value in window) else 0


def _avoiding(window: Sequence[float]) -> int:
    return _side_of(window) if all(abs(value) > 1 for value in window) else 0


def _side_of(window: Sequence[float]) -> int:
    return -1 if math.fsum(window) < 0 else 1


NELSON: tuple[Rule, ...] = (
    *LIMIT,
    ("9 on one side", 9, beyond_zone(9, 0)),
    ("6 in a trend", 6, _trend),
    ("14 alternating", 14, _alternating),
    ("2 of 3 beyond 2 sigma", 3, beyond_zone(2, 2)),
    ("4 of 5 beyond 1 sigma", 5, beyond_zone(4, 1)),
    ("15 within 1 sigma", 15, _hugging),
    ("8 beyond 1 sigma", 8, _avoiding),
)


def ewma(values: Sequence[float], weight: float = 0.2, width: float = 2.86, baseline: int = BASELINE) -> list[Signal]:
    """The signals of an exponentially weighted moving average; after each one it begins anew at the centre.

    Args:
        values: In the order in which they came.
        weight: Of the latest value.
        width: Of the limits, in standard deviations of the average.
        baseline: So many values give the limits, and no signal.
    """
    if len(values) <= baseline:
        return []
    limits = individuals_limits(values[:baseline])
    signals, average, steps = [], limits.centre, 0
    for index in range(baseline, len(values)):
        steps += 1
        average += weight * (values[index] - average)
        spread = limits.sigma * math.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * steps)))
        if abs(average - limits.centre) > max(width * spread, 1e-12):
            signals.append(Signal(index, "average", "lower" if average < limits.centre else "higher", index))
            average, steps = limits.centre, 0
    return signals


def standard_scores(values: Sequence[float], baseline: int = BASELINE) -> list[float]:
    """Each value less the mean of the baseline, over the standard deviation that its moving ranges give."""
    if len(values) <= baseline:
        return [0.0] * len(values)
    limits = individuals_limits(values[:baseline])
    return [(value - limits.centre) / (limits.sigma or 1e-12) for value in values]


def share_signals(
    kept: Sequence[bool], group: int = 20, tail: float = 0.00135, baseline: int = BASELINE
) -> list[Signal]:
    """The signals of a chart of shares: groups of cases against the first ones, by exact limits.

    The share is not known from 20 cases, so the limits are those of the beta-binomial distribution that a further
    group has after the baseline was seen (Jeffreys' prior), not those of a binomial one.

    Args:
        kept: Whether each case was accepted as it was, in order.
        group: Cases in a group; one that is not full says nothing yet.
        tail: How rare a share is beyond a limit, on either side, while nothing changes.
        baseline: So many cases give the limits.
    """
    if len(kept) <= baseline:
        return []
    low, high = share_limits(sum(kept[:baseline]), baseline, group, tail)
    signals = []
    for end in range(baseline + group, len(kept) + 1, group):
        accepted = sum(kept[end - group : end])
        if accepted < low or accepted > high:
            side: Side = "lower" if accepted < low else "higher"
            signals.append(Signal(end - 1, f"share in {group} cases", side, end - group))
    return signals
