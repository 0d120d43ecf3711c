"""What a review has come to: decisions, time, what was changed, alarms, agreement, and the state of the audit log.

`voxgraft review DIR --summary --json` prints `summary_of` with the points of its charts; `GET /api/summary` gives it
without them. docs/review_worth.md explains the keys. Nothing in it comes from a patient's header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from statistics import fmean, median
from typing import Any

import numpy as np

from ...scoring.bootstrap import mean_intervals
from ...support.files import without_nan
from ...support.texts import counted, legible
from ..state.models import Models
from ..state.records import ACCEPTED, ADJUDICATOR, CORRECTED, REJECTED, VERDICTS
from .agreement import agreement, pairs_of, references_of
from .charts import Chart, charts_of, version_of
from .comparing import TOLERANCE, Comparisons
from .export import Exported
from .facts import Fact, facts_of, times_of
from .reviewed_objects import Objects
from .snapshot import Snapshot, readings


def summary_of(snapshot: Snapshot, tolerance: float = TOLERANCE, points: bool = False) -> dict[str, Any]:
    """The summary of a review, as plain values that JSON can hold.

    Args:
        snapshot: The batch and what people decided about it.
        tolerance: Of the surface Dice, in millimetres.
        points: Give the single cases of the charts too.
    """
    return summary_and_charts(snapshot, tolerance, points)[0]


def summary_and_charts(
    snapshot: Snapshot, tolerance: float = TOLERANCE, points: bool = False
) -> tuple[dict[str, Any], list[Chart]]:
    """The summary, and the charts that it is made from; see `summary_of`.

    Args:
        snapshot: The batch and what people decided about it.
        tolerance: Of the surface Dice, in millimetres.
        points: Give the single cases of the charts too.
    """
    comparisons = Comparisons(snapshot, tolerance)
    facts, times = facts_of(snapshot, comparisons), times_of(snapshot, comparisons)
    charts = charts_of(facts, times)
    gold = references_of(snapshot, comparisons)
    document = {
        "scans": _scans(snapshot),
        "decisions": _verdicts(facts),
        "reasons": dict(Counter(fact.reason for fact in facts if fact.verdict == REJECTED and fact.reason)),
        "tolerance_mm": tolerance,
        "seconds_per_scan": _spread([fact.seconds for fact in times]),
        "structures": _structures(facts),
        "models": _grouped(facts, version_of, SHORT),
        "scanners": _grouped(facts, lambda fact: fact.scanner, SHORT),
        "readers": _readers(facts, times),
        "agreement": agreement(pairs_of(snapshot, comparisons)),
        "gold": {
            reader: agreement([pair for pair in gold if pair.readers[0] == reader])
            for reader in dict.fromkeys(pair.readers[0] for pair in gold)
        },
        "alarms": alarms_of(charts),
        "charts": [chart.document(points) for chart in charts],
        "problems": list(dict.fromkeys(fact.problem for fact in facts if fact.problem)),
        "audit": _audit(snapshot),
    }
    comparisons.keep()
    return without_nan(document), charts


def tolerance_of(snapshot: Snapshot) -> float:
    """Millimetres by which surfaces may differ: what the workflow of the latest model says, or the usual ones."""
    models = Models(snapshot.folder.root / "models")
    named = [models.of(row).tolerance for row in snapshot.rows.values()]
    return next((tolerance for tolerance in reversed(named) if tolerance is not None), TOLERANCE)


def alarms_of(charts: Iterable[Chart]) -> list[dict[str, Any]]:
    """What the charts say has changed, the latest first.

    A chart goes on alarming while a change lasts: that is one entry, with the first alarm, how often there was one, and
    when last.
    """
    rows = []
    for chart in (one.document(points=False) for one in charts):
        where = {key: chart[key] for key in ("measure", "structure", "by", "group")}
        for _, alarms in groupby(chart["alarms"], key=lambda alarm: alarm["side"]):
            first, *more = alarms
            last = more[-1] if more else first
            rows.append(
                {**where, **first, "times": 1 + len(more), "last_case": last["case"], "last_when": last["when"]}
            )
    return sorted(rows, key=lambda row: str(row["when"]), reverse=True)


def _scans(snapshot: Snapshot) -> dict[str, int]:
    done: set[str] = set()
    begun: set[str] = set()
    for reading in readings(snapshot):
        row = snapshot.rows.get(reading.case)
        if row is not None:
            begun.add(reading.case)
            if reading.is_done(row):
                done.add(reading.case)
    there = [row for row in snapshot.rows.values() if row.state in ("done", "failed")]
    return {"total": len(there), "reviewed": len(done), "started": len(begun - done), "open": len(there) - len(begun)}


def _verdicts(facts: Sequence[Fact]) -> dict[str, Any]:
    """How often each verdict was given about a structure, and the shares."""
    counts = Counter(fact.verdict for fact in facts)
    shares = {verdict: counts[verdict] / len(facts) if facts else None for verdict in VERDICTS}
    return {"total": len(facts), **{verdict: counts[verdict] for verdict in VERDICTS}, "shares": shares}


Scores = Mapping[str, Callable[[Fact], float | None]]
SHORT: Scores = {"dice": lambda fact: fact.dice}
BOTH: Scores = {**SHORT, "surface_dice": lambda fact: fact.surface_dice}


def _grouped(facts: Sequence[Fact], key: Callable[[Fact], str], scores: Scores) -> dict[str, dict[str, Any]]:
    """What is told of each group; what an adjudicator decided counts nowhere, for others decided before."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.role != ADJUDICATOR:
            groups.setdefault(key(fact), []).append(fact)
    values = {
        (name, score): [(fact.case, value(fact)) for fact in group if fact.verdict in (ACCEPTED, CORRECTED)]
        for name, group in groups.items()
        for score, value in scores.items()
    }
    intervals = _intervals(values)
    return {
        name: {
            "n": len(group),
            "share_accepted": _share(group),
            **{score: _told(values[name, score], intervals[name, score]) for score in scores},
        }
        for name, group in groups.items()
    }


def _structures(facts: Sequence[Fact]) -> dict[str, dict[str, Any]]:
    """What is told of each structure: the verdicts and by how much volumes changed besides."""
    told = _grouped(facts, lambda fact: fact.structure, BOTH)
    for name, row in told.items():
        own = [fact for fact in facts if fact.structure == name and fact.role != ADJUDICATOR]
        changes = [
            one.ml_after - one.ml_before for one in own if one.ml_after is not None and one.ml_before is not None
        ]
        row |= {verdict: sum(fact.verdict == verdict for fact in own) for verdict in VERDICTS}
        row["ml_change_mean"] = fmean(changes) if changes else None
    return told


def _share(facts: Sequence[Fact]) -> float | None:
    return sum(fact.verdict == ACCEPTED for fact in facts) / len(facts) if facts else None


Values = Sequence[tuple[str, float | None]]
"""Cases with their values; None where one is not defined."""


def _intervals(columns: Mapping[Any, Values]) -> dict[Any, list[float]]:
    """The 95 % interval of the mean of each column, scans drawn together; all columns from the same draws."""
    numbers = {
        case: number for number, case in enumerate(dict.fromkeys(case for rows in columns.values() for case, _ in rows))
    }
    deepest = max(
        (Counter(case for case, _ in rows).most_common(1)[0][1] for rows in columns.values() if rows), default=0
    )
    table = np.full((len(numbers) * deepest, len(columns)), np.nan)
    for column, rows in enumerate(columns.values()):
        often: Counter[str] = Counter()
        for case, value in rows:
            table[numbers[case] * deepest + often[case], column] = np.nan if value is None else value
            often[case] += 1
    groups = [row // deepest for row in range(len(table))]
    return dict(zip(columns, mean_intervals(table, groups).tolist(), strict=True)) if len(columns) else {}


def _told(rows: Values, interval: Sequence[float]) -> dict[str, Any]:
    """Mean and spread; values that are not defined are counted beside it, not averaged away."""
    scores = [score for _, score in rows if score is not None]
    return {
        "n": len(scores),
        "undefined": len(rows) - len(scores),
        "mean": fmean(scores) if scores else None,
        "ci95": list(interval),
        "median": median(scores) if scores else None,
        "min": min(scores, default=None),
    }


def _readers(facts: Sequence[Fact], times: Sequence[Fact]) -> dict[str, Any]:
    return {
        reader: {
            "scans": len({fact.case for fact in facts if fact.reader == reader}),
            "share_accepted": _share([fact for fact in facts if fact.reader == reader]),
            "seconds_per_scan": _spread([fact.seconds for fact in times if fact.reader == reader]),
        }
        for reader in dict.fromkeys(fact.reader for fact in facts)
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "n": len(values),
        "mean": fmean(values) if values else None,
        "median": median(values) if values else None,
        "percentile_90": float(np.percentile(values, 90)) if values else None,
        "sum": sum(values),
    }


def _audit(snapshot: Snapshot) -> dict[str, Any]:
    log = snapshot.log
    return {
        "whole": not log.faults,
        "lines": log.lines,
        "faults": [{"line": fault.line, "message": fault.message} for fault in log.faults],
        "torn_bytes": len(log.torn),
        "unknown_lines": snapshot.state.skipped,
        "head": log.head,
    }


MOST = 10
"""Lines of one kind."""


def text_of(found: Mapping[str, Any]) -> str:
    """A summary as lines: what was decided, by structure, what has changed, and whether the log is whole."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    scans, decisions, time = found["scans"], found["decisions"], found["seconds_per_scan"]
    yield (
        f"{scans['reviewed']} of {counted(scans['total'], 'scan')} reviewed, {scans['started']} begun; structures: "
        f"{decisions['accepted']} accepted, {decisions['corrected']} corrected, {decisions['rejected']} rejected, "
        f"{decisions['not-assessable']} not assessable"
    )
    if time["n"]:
        yield f"seconds per scan: median {time['median']:.0f}, 90 % within {time['percentile_90']:.0f}"
    for name, row in found["structures"].items():
        dice = row["dice"]
        low, high = dice["ci95"]
        interval = "" if low is None else f" (95 % interval {low:.3f} to {high:.3f})"
        undefined = f", {dice['undefined']} not defined" if dice["undefined"] else ""
        mean = "no Dice-to-edit" if dice["mean"] is None else f"Dice-to-edit {dice['mean']:.3f}{interval}"
        yield f"{legible(name)}: {row['share_accepted']:.0%} accepted as they were; {mean}, n {dice['n']}{undefined}"
    for name, row in found["agreement"].items():
        if row["dice_mean"] is not None:
            yield f"readers agree about {legible(name)}: Dice {row['dice_mean']:.3f} over {counted(row['n'], 'pair')}"
    alarms = [alarm for alarm in found["alarms"] if alarm["by"] == "structure"]
    for alarm in alarms[:MOST]:
        yield f"alarm: {legible(alarm['message'])}"
    for problem in found["problems"][:MOST]:
        yield f"note: {legible(problem)}"
    audit = found["audit"]
    if audit["whole"]:
        yield f"audit log: whole, {counted(audit['lines'], 'line')}"
    else:
        fault = audit["faults"][0]
        yield f"audit log: damaged at line {fault['line']}: {fault['message']}"


def text_of_export(exported: Exported, objects: Objects) -> str:
    """What was exported, and why the rest was not."""
    lines = [f"{counted(len(exported.cases), 'scan')} in {legible(str(exported.target))}"]
    if exported.unchanged:
        lines[0] += " (unchanged)"
    if not exported.cases:
        lines = ["nothing to export: no scan has all of its structures accepted or corrected"]
    for what, rows in (("left out", exported.left_out), ("failed", exported.failed), ("no DICOM", objects.failed)):
        lines += [f"{what}: {case}: {legible(reason)}" for case, reason in list(rows.items())[:MOST]]
        if len(rows) > MOST:
            lines.append(f"{what}: {len(rows) - MOST} more; --json lists all")
    written = len(objects.written) + len(objects.unchanged)
    if written:
        lines.append(f"DICOM objects of {counted(written, 'scan')} in review/dicom")
    return "\n".join(lines)
