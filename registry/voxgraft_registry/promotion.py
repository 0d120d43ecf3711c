"""Whether a new version is worse than the champion, judged on the held-out cases that both were scored on.

The rule, `if-not-worse`: a new version becomes champion unless it is shown to be worse. It is worse when the 95 %
bootstrap interval of the mean difference over the common cases, patients drawn together, lies wholly on the worse side
of zero. With fewer than six common patients an interval says nothing: there, and where no case is common, the means are
compared, and a lower one is worse. A case is common when its id and, where both know it, the hash of its files are the
same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from voxgraft.scoring.bootstrap import mean_intervals
from voxgraft.scoring.scores import MEAN, mean_of

FEWEST = 6
"""Common patients from which on an interval decides."""

REPLICATES = 10_000


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
        For each case the hash of its files, the number of its patient, and for each metric the mean over the
        structures where it is defined.
    """
    kept: dict[str, dict[str, Any]] = {}
    for case, metrics in scores["cases"].items():
        means = {metric: _mean(structures) for metric, structures in metrics.items()}
        known = {metric: mean for metric, mean in means.items() if np.isfinite(mean)}
        kept[case] = {"data": hashes.get(case, ""), "patient": scores.get("groups", {}).get(case), "scores": known}
    return kept


def compare(new: Mapping[str, Any], champion: Mapping[str, Any], metric: str, *, higher_is_better: bool) -> Verdict:
    """Compare two packages by the facts of their manifests.

    A champion that was never scored with this metric cannot be compared with; a person must then decide.
    """
    better = 1.0 if higher_is_better else -1.0
    pairs = _pairs(new.get("held_out"), champion.get("held_out"), metric)
    if not pairs:
        return _by_summary(new, champion, metric, better)
    differences = np.array([[pair.new - pair.champion] for pair in pairs])
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(pair.patient for pair in pairs))}
    mean = float(differences.mean())
    said = f"{metric} {mean:+.4f} on {len(pairs)} common cases"
    if len(numbers) < FEWEST:
        return Verdict(better * mean < 0, f"{said} (too few for an interval)", mean, None, len(pairs))
    ((low, high),) = mean_intervals(differences, [numbers[pair.patient] for pair in pairs], REPLICATES).tolist()
    worse = high < 0 if higher_is_better else low > 0
    return Verdict(worse, f"{said} (95 % interval {low:+.4f} to {high:+.4f})", mean, (low, high), len(pairs))


def _by_summary(new: Mapping[str, Any], champion: Mapping[str, Any], metric: str, better: float) -> Verdict:
    """Compare means over different cases, for want of common ones."""
    mine, theirs = (_inside(facts, "scores", metric, MEAN, "mean") for facts in (new, champion))
    if not _is_number(mine) or not _is_number(theirs):
        whose = "the champion" if _is_number(mine) else "this version"
        return Verdict(True, f"{whose} has no score in {metric}, so the two cannot be compared")
    difference = float(mine) - float(theirs)
    return Verdict(better * difference < 0, f"{metric} {difference:+.4f}, but no held-out case is common", difference)


class _Pair(NamedTuple):
    """A case that both were scored on."""

    new: float
    champion: float
    patient: Any


def _pairs(new: Any, champion: Any, metric: str) -> list[_Pair]:
    pairs = []
    for case in new if isinstance(new, Mapping) else ():
        mine, theirs = (_inside(cases, case, "scores", metric) for cases in (new, champion))
        data = [_inside(cases, case, "data") for cases in (new, champion)]
        if _is_number(mine) and _is_number(theirs) and (not all(data) or data[0] == data[1]):
            number = _inside(new, case, "patient")
            pairs.append(_Pair(float(mine), float(theirs), number if isinstance(number, int) else case))
    return pairs


def _inside(document: Any, *keys: str) -> Any:
    """A value of nested mappings that come from a manifest; None where it is not there."""
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))


def _mean(structures: Mapping[str, Any]) -> float:
    """Over the structures in which a metric is defined; a mean that stands among them is not counted again."""
    return mean_of([float(value) for name, value in structures.items() if value is not None and name != MEAN])
