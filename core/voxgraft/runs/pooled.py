"""The scores of several members of a run put together, and how much they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..scoring.pair import Counts
from ..scoring.pairs import MEAN
from ..scoring.scores import Scores, is_missed, mean_of
from ..support.texts import counted
from .cross_validation import Member


def pooled(parts: Sequence[Scores], patients: Mapping[str, str]) -> Scores:
    """Scores of all cases, each once: a case that several members scored has the mean of its values, and its voxel
    counts are those of all of them together.

    Where a member's value is undefined because it missed a structure, so is the mean: the others would make it better.
    """
    missed = _missed(parts)
    rows: dict[str, dict[str, dict[str, list[float]]]] = {}
    for part in parts:
        for case, metrics in part.cases.items():
            for metric, structures in metrics.items():
                for name, value in structures.items():
                    if name != "mean":
                        rows.setdefault(case, {}).setdefault(metric, {}).setdefault(name, []).append(value)
    cases = {
        case: {
            metric: {name: _mean(values, name in missed.get(case, ())) for name, values in row.items()}
            for metric, row in metrics.items()
        }
        for case, metrics in rows.items()
    }
    failed = {case: why for part in parts for case, why in part.failed.items() if case not in cases}
    counts: dict[str, dict[str, Counts]] = {}
    for part in parts:
        for case, part_counts in part.counts.items():
            for name, count in part_counts.items():
                totals = counts.setdefault(case, {})
                totals[name] = count.plus(totals[name]) if name in totals else count
    first = parts[0]
    return Scores.of(
        cases,
        patients,
        failed=failed,
        metrics=first.metrics,
        regions=first.regions,
        counts=counts,
        missed=missed,
    )


def _missed(parts: Sequence[Scores]) -> dict[str, list[str]]:
    """CASE -> the structures of its reference of which some member found nothing."""
    missed: dict[str, dict[str, None]] = {}
    for part in parts:
        for case, counts in part.counts.items():
            names = [*part.missed.get(case, ()), *(name for name, count in counts.items() if is_missed(count))]
            if names:
                missed.setdefault(case, {}).update(dict.fromkeys(names))
    return {case: list(names) for case, names in missed.items()}


def spread(members: Sequence[Member], scores: Mapping[str, Scores], patients: Mapping[str, str]) -> dict[str, Any]:
    """How much the mean score differs: between draws, where there are several, each over all its folds; else between
    folds.

    Args:
        members: Folds and draws.
        scores: Member -> scores of its held-out cases.
        patients: Case -> patient.

    Returns:
        `members` with the summary of each, `over` (what is told apart) and `spread`: METRIC -> structure -> `values`,
        `mean`, `sd` (of a sample), `n` (members whose mean is defined; the others are null in `values`).
    """
    repeats = sorted({member.repeat for member in members})
    if len(repeats) > 1:
        over = "draws of labelled patients"
        parts = [pooled([scores[m.name] for m in members if m.repeat == repeat], patients) for repeat in repeats]
    else:
        over, parts = "folds", [scores[member.name] for member in members]
    return {
        "over": over,
        "members": [
            {
                "name": member.name,
                "fold": member.fold,
                "repeat": member.repeat,
                "summary": scores[member.name].document()["summary"],
            }
            for member in members
        ],
        "spread": {
            metric: {
                name: _spread([part.summary.get(metric, {}).get(name, {}).get("mean", math.nan) for part in parts])
                for name in structures
            }
            for metric, structures in _named(parts).items()
        },
    }


def _named(parts: Sequence[Scores]) -> dict[str, list[str]]:
    """METRIC -> every structure that any part has, in the order in which they are met, `mean` last."""
    named: dict[str, dict[str, None]] = {}
    for part in parts:
        for metric, structures in part.summary.items():
            named.setdefault(metric, {}).update(dict.fromkeys(structures))
    return {metric: sorted(names, key=lambda name: name == MEAN) for metric, names in named.items()}


def member_table(spreads: Mapping[str, Any]) -> list[list[str]]:
    """What `spread` gives as a table, its head first: the mean of each member, then how much they differ."""
    metrics = list(spreads["spread"])
    rows = [["Member", *metrics]]
    for member in spreads["members"]:
        rows.append([member["name"].replace("_", " "), *(_told(member["summary"].get(name, {})) for name in metrics)])
    return [*rows, [f"SD over {spreads['over']}", *(_sd(spreads["spread"][name].get(MEAN, {})) for name in metrics)]]


def _told(structures: Mapping[str, Any]) -> str:
    """A mean over cases, and of how many of how many."""
    found = structures.get(MEAN) or {"mean": None, "n": 0, "undefined": 0}
    mean = "undefined" if found["mean"] is None else f"{found['mean']:.4f}"
    return f"{mean}, {found['n']} of {counted(found['n'] + found['undefined'], 'case')}"


def _sd(found: Mapping[str, Any]) -> str:
    if found.get("sd") is None:
        return "undefined"
    return f"{found['sd']:.4f}, {found['n']} of {len(found['values'])}"


def _spread(values: Sequence[float]) -> dict[str, Any]:
    known = np.array([value for value in values if math.isfinite(value)])
    return {
        "values": [value if math.isfinite(value) else None for value in values],
        "mean": float(known.mean()) if len(known) else None,
        "sd": float(known.std(ddof=1)) if len(known) > 1 else None,
        "n": len(known),
    }


def _mean(values: Sequence[float], missed: bool) -> float:
    return math.nan if missed and not all(map(math.isfinite, values)) else mean_of(values)
