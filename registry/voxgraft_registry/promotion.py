"""Whether a new version is worse than the champion, judged on the held-out cases that both were scored on.

The rule, `if-not-worse`: a new version becomes champion unless it is shown to be worse. It is worse when the 95 %
bootstrap interval of the mean difference over the common cases, patients drawn together, lies wholly on the worse side
of zero. With fewer than six common patients an interval says nothing: there, and where no case is common, the means are
compared, and a lower one is worse. A case is common when its id and, where both know it, the hash of its files are the
same. In each case the structures are compared that both have a value for, by the rules of
`voxgraft.scoring.comparison`; a version
that misses structures which the champion finds, and has no value there, is worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxgraft.errors import DataError
from voxgraft.scoring.comparison import compare_all
from voxgraft.scoring.pairs import MEAN
from voxgraft.scoring.scores import Scores

FEWEST = 6
"""Common patients from which on an interval decides."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a comparison.

    Attributes:
        difference: Mean of new minus champion, in the metric's unit; None where there is nothing to compare.
        ci95: Of the mean difference; None where an interval says nothing.
        cases: How many cases are common.
    """

    worse: bool
    reason: str
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    cases: int = 0

    def document(self) -> dict[str, Any]:
        """Plain values, as the run keeps them."""
        return {name: getattr(self, name) for name in self.__slots__}


def held_out(scores: Mapping[str, Any], hashes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What a package keeps of a run's scores so that a later version can be compared with it.

    Args:
        scores: The document `evaluate/scores.json`.
        hashes: The hash of each case's files.

    Returns:
        For each case the hash of its files, the number of its patient, for each metric the value of each structure
        (None where it is not defined), and the voxel counts of each structure.
    """
    counts = scores.get("counts", {})
    return {
        case: {
            "data": hashes.get(case, ""),
            "patient": scores.get("groups", {}).get(case),
            "scores": {metric: _structures(values) for metric, values in metrics.items()},
            "counts": counts.get(case, {}),
        }
        for case, metrics in scores["cases"].items()
    }


def _structures(values: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: float(value) if _is_number(value) else None for name, value in values.items() if name != MEAN}


def compare(new: Mapping[str, Any], champion: Mapping[str, Any], metric: str, *, higher_is_better: bool) -> Verdict:
    """Compare two packages by the facts of their manifests.

    A champion that was never scored with this metric cannot be compared with; a person must then decide.

    Args:
        new: Facts of the new package.
        champion: Facts of the champion's package.
        metric: The key that decides, such as `dice`.
        higher_is_better: The greater value of it is the better one.
    """
    better = 1.0 if higher_is_better else -1.0
    both = {"champion": _common(champion, new), "new": _common(new, champion)}
    try:
        (comparison,) = compare_all(both, {metric: higher_is_better})
    except DataError:  # nothing to compare
        return _by_summary(new, champion, metric, better)
    summary = f"{metric} {comparison.difference:+.4f} on {comparison.n} common cases"
    missed, champion_missed = comparison.undefined
    if missed > champion_missed:
        reason = f"it misses {missed} structures that the champion finds (the champion {champion_missed}); {summary}"
        return Verdict(True, reason, comparison.difference, None, comparison.n)
    if comparison.patients < FEWEST:
        return Verdict(
            better * comparison.difference < 0,
            f"{summary} (too few for an interval)",
            comparison.difference,
            None,
            comparison.n,
        )
    low, high = comparison.ci95
    worse = high < 0 if higher_is_better else low > 0
    return Verdict(
        worse, f"{summary} (95 % interval {low:+.4f} to {high:+.4f})", comparison.difference, (low, high), comparison.n
    )


def _by_summary(new: Mapping[str, Any], champion: Mapping[str, Any], metric: str, better: float) -> Verdict:
    """Compare means over different cases, for want of common ones."""
    new_mean, champion_mean = (_inside(facts, "scores", metric, MEAN, "mean") for facts in (new, champion))
    if not _is_number(new_mean) or not _is_number(champion_mean):
        whose = "the champion" if _is_number(new_mean) else "this version"
        return Verdict(True, f"{whose} has no score in {metric}, so the two cannot be compared")
    difference = float(new_mean) - float(champion_mean)
    return Verdict(better * difference < 0, f"{metric} {difference:+.4f}, but no held-out case is common", difference)


def _common(facts: Mapping[str, Any], other: Mapping[str, Any]) -> Scores:
    """The scores in a manifest of the cases that the other has as well; none where they do not make sense."""
    own, champion_hashes = facts.get("held_out"), other.get("held_out")
    rows: dict[str, Any] = {}
    if isinstance(own, dict) and isinstance(champion_hashes, dict):
        rows = {
            case: row for case, row in own.items() if case in champion_hashes and _are_same(row, champion_hashes[case])
        }
    try:
        return Scores.from_document(
            {
                "cases": {case: row["scores"] for case, row in rows.items()},
                "groups": {case: row["patient"] for case, row in rows.items() if isinstance(row.get("patient"), int)},
                "counts": {case: row.get("counts", {}) for case, row in rows.items()},
            }
        )
    except (ArithmeticError, ValueError, TypeError, AttributeError, LookupError):
        return Scores({})


def _are_same(value: Any, other: Any) -> bool:
    """Whether two entries of a case have the same hash of its files, or one of them does not know it."""
    hashes = [_inside(entry, "data") for entry in (value, other)]
    return not all(hashes) or hashes[0] == hashes[1]


def _inside(document: Any, *keys: str) -> Any:
    """A value of nested mappings that come from a manifest; None where it is not there."""
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))
