"""What `voxgraft review DIR --summary` and `--export` print for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...support.texts import counted, legible
from .export import Exported
from .reviewed_objects import Objects

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
        lines = ["nothing to export: of no scan every structure is accepted or corrected"]
    for what, rows in (("left out", exported.left_out), ("failed", exported.failed), ("no DICOM", objects.failed)):
        lines += [f"{what}: {case}: {legible(reason)}" for case, reason in list(rows.items())[:MOST]]
        if len(rows) > MOST:
            lines.append(f"{what}: {len(rows) - MOST} more; --json lists all")
    written = len(objects.written) + len(objects.unchanged)
    if written:
        lines.append(f"DICOM objects of {counted(written, 'scan')} in review/dicom")
    return "\n".join(lines)
