"""The guard's verdict: does transfer help, by the scores of a run and of its twin from scratch on the same cases?

`helps` and `hurts` are said where the 95 % interval of the mean difference (paired bootstrap over patients) leaves out
zero and the paired randomisation test over patients agrees (p below 0.05). It is `too few patients to tell` where
so few could never make it agree, and `too early to tell` after fewer than 30 steps or while both networks have learnt
next to nothing; otherwise `no evidence`. The test stands beside the interval because a bootstrap of few
patients calls equal runs different far too often. The mean over structures decides; structures are corrected by Holm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .comparison import TOO_FEW, Comparison, compare_all
from .pairs import MEAN
from .scores import Scores
from .worth import learnt_nothing, never_found

Verdict = Literal["helps", "hurts", "no evidence", "too few patients to tell", "too early to tell"]
HURTS: Verdict = "hurts"
TOO_EARLY: Verdict = "too early to tell"

FEWEST_STEPS = 30
"""Steps below which a training has hardly begun, and its scores are no evidence of anything."""


def judge(run: Scores, twin: Scores, metric: str, higher_is_better: bool, steps: int | None = None) -> dict[str, Any]:
    """What the guard says, as plain values.

    Args:
        steps: How many each of the two was trained for, where that is known.

    Returns:
        `verdict` with `difference` (run minus twin), `ci95`, `p`, `mean`, `twin_mean`, `n`, `patients`; the same under
        `structures` for each structure; `early`, why it is too early to tell; and under `never_found` the structures
        that references hold and neither network predicts anywhere.

    Raises:
        DataError: The two have no case in common, or no value of the metric.
    """
    both = {"twin": twin, "run": run}
    (whole,) = compare_all(both, {metric: higher_is_better}, [MEAN])
    names = [name for name in run.summary[metric] if name != MEAN and name in twin.summary.get(metric, {})]
    defined = [name for name in names if _is_defined(run, twin, metric, name)]
    parts = compare_all(both, {metric: higher_is_better}, defined) if defined else []
    early = _early(run, twin, steps)
    return {
        "metric": metric,
        "higher_is_better": higher_is_better,
        **_row(whole, higher_is_better, early),
        "structures": {comparison.structure: _row(comparison, higher_is_better, early) for comparison in parts},
        "early": early,
        "never_found": never_found(run, twin),
    }


def _early(run: Scores, twin: Scores, steps: int | None) -> str | None:
    if steps is not None and steps < FEWEST_STEPS:
        return f"{steps} steps are fewer than {FEWEST_STEPS}"
    if learnt_nothing(run) and learnt_nothing(twin):
        return "both networks have learnt next to nothing; give them a longer budget"
    return None


def overtaken(curve: Sequence[Mapping[str, float]], twin: Sequence[Mapping[str, float]]) -> dict[str, Any] | None:
    """When the run first reached the twin's last validation Dice: much of what transfer gives may be speed.

    Returns:
        `dice` of the twin in the end, the twin's `steps`, and the run's `step`, None where it never got there; None
        where nothing was looked at.
    """
    looks = [(int(row["step"]), float(row["dice"])) for row in curve if "dice" in row]
    points = [(int(row["step"]), float(row["dice"])) for row in twin if "dice" in row]
    if not looks or not points:
        return None
    steps, dice = points[-1]
    return {"dice": dice, "steps": steps, "step": next((step for step, mine in looks if mine >= dice), None)}


def verdict_sentence(verdict: Mapping[str, Any]) -> str:
    """The verdict in one line."""
    low, high = verdict["ci95"]
    interval = "" if low is None else f", 95 % interval {low:+.4f} to {high:+.4f}"
    phrases = {"helps": "transfer helps", "hurts": "transfer hurts", "no evidence": "no evidence that transfer helps"}
    phrases |= {TOO_FEW: f"{TOO_FEW} whether transfer helps", TOO_EARLY: f"too early to tell: {verdict['early']}"}
    parts = [f"{name} {row['verdict']}" for name, row in verdict["structures"].items()]
    each = f"; {', '.join(parts)}" if len(parts) > 1 else ""
    lost = ", ".join(map(repr, verdict["never_found"]))
    never = f"; neither network ever finds {lost}" if lost else ""
    return (
        f"{phrases[verdict['verdict']]}: {verdict['metric']} {verdict['mean']:.4f} against {verdict['twin_mean']:.4f} "
        f"from scratch, difference {verdict['difference']:+.4f}{interval}, {verdict['patients']} patients{each}{never}"
    )


def _row(comparison: Comparison, higher_is_better: bool, early: str | None) -> dict[str, Any]:
    document = comparison.document()
    row = {key: document[key] for key in ("difference", "ci95", "p", "p_holm", "mean", "n", "patients", "undefined")}
    verdict = TOO_EARLY if early else _verdict(comparison, higher_is_better)
    return {"verdict": verdict, **row, "twin_mean": document["against_mean"]}


def _verdict(comparison: Comparison, higher_is_better: bool) -> Verdict:
    low, high = comparison.ci95 if higher_is_better else (-comparison.ci95[1], -comparison.ci95[0])
    if comparison.verdict == TOO_FEW:
        return TOO_FEW
    if comparison.verdict == "better" and low > 0:
        return "helps"
    return "hurts" if comparison.verdict == "worse" and high < 0 else "no evidence"


def _is_defined(run: Scores, twin: Scores, metric: str, structure: str) -> bool:
    """Whether some case has a value for both."""
    return any(
        all(math.isfinite(each.cases[case].get(metric, {}).get(structure, math.nan)) for each in (run, twin))
        for case in run.cases.keys() & twin.cases.keys()
    )
