"""Is a model worth anything: does it find each structure, and more of it than masks do that need no network?

A structure is judged by its voxel counts in the cases whose reference holds it; one that no reference holds is not.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..support.texts import counted
from .pair import Counts
from .scores import Scores, mean_of

NO_BETTER = 0.01
"""The Dice of an empty mask is 0; below this a model is no better."""

NOTHING = 0.05
"""A mean Dice below this is next to nothing, whatever the structure."""


def never_found(*runs: Scores) -> list[str]:
    """Structures that references hold and that no run predicts anywhere."""
    names = dict.fromkeys(name for run in runs for name, _ in _judged(run))
    predicted = {
        name
        for run in runs
        for counts_of_case in run.counts.values()
        for name, counts in counts_of_case.items()
        if counts.predicted
    }
    return [name for name in names if name not in predicted]


def worthless(scores: Scores) -> list[str]:
    """Why a model is worth nothing, a reason for each structure for which it is, as ends of a sentence."""
    judged = list(_judged(scores))
    if scores.counts and not judged:
        return ["was judged by no held-out case: none of them holds a structure"]
    remarks = []
    for name, counts in judged:
        dice = mean_of(list(map(_dice, counts)))
        wrong, missed_by_empty = sum(count.fp + count.fn for count in counts), sum(count.referred for count in counts)
        if not any(count.predicted for count in counts):
            remarks.append(f"finds nothing of {name!r} in the {counted(len(counts), 'held-out case')} with it")
        elif dice < NO_BETTER or (dice < NOTHING and wrong >= missed_by_empty):
            remarks.append(f"is no better than an empty mask for {name!r} (Dice {dice:.4f})")
    return remarks


def summed_up(reasons: list[str]) -> str:
    """One sentence of a model that is worth nothing for some structures; empty where there are none."""
    others = len(reasons) - 1
    more = f", and the same holds for {counted(others, 'other structure')}" if others > 0 else ""
    return f"the model {reasons[0]}{more}" if reasons else ""


def learnt_nothing(scores: Scores) -> bool:
    """Whether every structure's mean Dice is next to nothing, or no better than that of a mask of all voxels."""
    judged = list(_judged(scores))
    return bool(judged) and all(
        mean_of(list(map(_dice, counts))) <= max(NOTHING, mean_of(list(map(_dice_of_all, counts))))
        for _, counts in judged
    )


def _judged(scores: Scores) -> Iterator[tuple[str, list[Counts]]]:
    """The structures that some reference holds, with the counts of those cases."""
    for name in dict.fromkeys(name for case_counts in scores.counts.values() for name in case_counts):
        counts = [
            case_counts[name]
            for case_counts in scores.counts.values()
            if name in case_counts and case_counts[name].referred
        ]
        if counts and name not in scores.regions:
            yield name, counts


def _dice(count: Counts) -> float:
    return 2.0 * count.tp / (count.predicted + count.referred)


def _dice_of_all(count: Counts) -> float:
    """Of a mask that holds every voxel."""
    return 2.0 * count.referred / (count.referred + count.predicted + count.fn + count.tn)
