"""`report.html`: the worklist of a batch as one page, doubtful scans first; it needs no server and no network.

It shows what finds a scan in the archive it came from: accession number, study date, series description. An accession
number leads to the patient. It therefore stands in no ledger, log, report of a scan or tracker, but in one file of the
batch's folder that only its owner may read, and in this page that is written from it.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..packages.facts import numbers_of
from ..packages.package import Package
from ..reports.drawing import colour_of
from ..reports.render import render
from ..support.files import read_json, write_json, write_text
from ..support.texts import legible
from .entry import PARTS, Entry
from .ledger import Ledger, Row
from .outputs import PLAIN, PREVIEW
from .quality import LOW_CONFIDENCE, is_of_the_scan, is_sized

if TYPE_CHECKING:
    from .parts import Part

REPORT = "report.html"
REPORT_EVERY = 30.0
"""Seconds between two versions of the report while a batch is under way."""
ORDER = {"failed": 0, "done": 1, "running": 2, "waiting": 2}


def write_report(out: Path, rows: Sequence[Row], package: Package) -> None:
    """Write the page for everything the ledger knows; where it names accession numbers, only its owner may read it.

    Args:
        out: The batch's folder.
        rows: Everything the ledger knows.
        package: The model of this call.

    Raises:
        DataError: The disk is full.
    """
    known = {row.case for row in rows}
    origins = {case: origin for case, origin in recall(out).items() if case in known}
    text = page(rows, package, legible(out.resolve().name), origins)
    write_text(out / REPORT, text, private=bool(origins))


def write_common_report(out: Path, ledger: Ledger, part: Part | None, package: Package, last: bool) -> None:
    """Write the page of a batch of which this process does a part, or all; parts write it one after the other.

    Args:
        out: The batch's folder.
        ledger: This part's own.
        part: Which it is; None for an undivided batch.
        package: The model of this call.
        last: This part writes none after it; others do without a page that is new.

    Raises:
        DataError: The disk is full.
    """
    if part is None:
        write_report(out, ledger.rows(), package)
    elif last or not _is_new(out / REPORT):
        from .parts import in_turn, rows_of_all

        with in_turn(out):
            if last or not _is_new(out / REPORT):
                write_report(out, rows_of_all(ledger, out, part), package)


def _is_new(path: Path) -> bool:
    return path.exists() and time.time() - path.stat().st_mtime < REPORT_EVERY


def page(rows: Sequence[Row], package: Package, name: str, origins: Mapping[str, Origin] | None = None) -> str:
    """The page as HTML; all that comes from files is escaped.

    Args:
        rows: Everything the ledger knows, in any order.
        package: The model of this call; scans that another made are marked.
        name: Of the batch, for the title.
        origins: CASE -> what finds it in the archive.
    """
    return render(
        "batch/report.html",
        title=f"Worklist {name}",
        folder=shlex.quote(name),
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        tally=_counts(rows),
        model=_model(package),
        work=by_doubt(row for row in rows if row.state != "left-out"),
        left=[row for row in rows if row.state == "left-out"],
        **{"short": _short, "reasons": partial(_reasons, package), "percent": "{:.0%}".format},
        origins=origins or {},
        measured=_measured(rows),
        **{"said": _said, "colour": colour_of, "size_of": size_of, "is_sized": is_sized},
        **{"PREVIEW": PREVIEW, "PLAIN": PLAIN, "LOW_CONFIDENCE": LOW_CONFIDENCE},
    )


def by_doubt(rows: Iterable[Row]) -> list[Row]:
    """Failed scans, then those with faults of their own, with most flags, with least confidence, then what is to do."""

    def doubt(row: Row) -> tuple[int, int, int, float, str]:
        bad = sum(is_of_the_scan(str(flag["code"])) for flag in row.flags)
        certain = 1.0 if row.confidence is None else row.confidence
        return ORDER[row.state], -bad, -len(row.flags), certain, row.case

    return sorted(rows, key=doubt)


def _counts(rows: Sequence[Row]) -> list[tuple[str, int, str]]:
    done = [row for row in rows if row.state == "done"]
    return [
        ("bad", sum(row.state == "failed" for row in rows), "failed"),
        ("look", sum(bool(row.flags) for row in done), "to look at first"),
        ("good", sum(not row.flags for row in done), "without a flag"),
        ("", sum(row.state in ("waiting", "running") for row in rows), "still to do"),
        ("", sum(row.state == "left-out" for row in rows), "left out"),
    ]


def _model(package: Package) -> list[tuple[str, str]]:
    """Identity and card of the model, in a few lines."""
    facts: Mapping[str, Any] = package.facts
    number = facts.get("version")
    lines = [
        ("Model", f"{package.name}{f', version {number}' if number else ''}"),
        ("Fingerprint", package.hash[:16]),
        *([("Requested as", facts["reference"])] if facts.get("reference", "").startswith("models:/") else []),
        ("Finds", ", ".join(package.labels.names)),
        *([("Applied in", numbers)] if (numbers := numbers_of(facts)) != "float32" else []),
        *([("Searched", "the body alone, where it is found")] if facts.get("around") else []),
        ("In", f"{package.plan.modality.upper()} images ({', '.join(package.plan.channels)})"),
    ]
    split = facts.get("split") or {}
    if split.get("train"):
        lines.append(("Trained on", f"{len(split['train'])} scans, {len(split.get('validation', ()))} held out"))
    if scores := _scores(facts.get("scores") or {}):
        lines.append(("On held-out scans", scores))
    if made := facts.get("created"):
        lines.append(("Made", f"{made} with VoxGraft {facts.get('voxgraft', 'of an unknown version')}"))
    return lines


def _scores(summary: Mapping[str, Any]) -> str:
    """The first metric's mean of each structure, with its interval."""
    metric = next(iter(summary), None)
    if metric is None:
        return ""
    parts = []
    for name, one in summary[metric].items():
        if one.get("mean") is None:
            parts.append(f"{name} undefined")
            continue
        low, high = one.get("ci95") or (None, None)
        interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
        missing = one.get("undefined") or 0
        behind = f", {one.get('n')} of {one.get('n', 0) + missing} scans" if missing else ""
        parts.append(f"{name} {one['mean']:.3f}{interval}{behind}")
    return f"{metric.capitalize()} {', '.join(parts)}" if parts else ""


def _said(row: Row, reasons: Sequence[str]) -> str:
    """What is said below the enlarged picture of a scan."""
    sized = is_sized(row.flags)
    found = [f"{name} {size_of(one, sized)}".rstrip() for name, one in row.structures.items() if one.get("voxels")]
    return ". ".join(filter(None, (", ".join(found), "; ".join(reasons))))


def size_of(structure: Mapping[str, Any], sized: bool) -> str:
    """How large a structure is, for people; its voxels where nobody knows how large they are.

    Args:
        structure: As `report.json` has it.
        sized: Whether its scan says how large its voxels are.
    """
    flat = "mm2" in structure
    if not sized:
        return f"{structure.get('voxels', 0):,} {'pixels' if flat else 'voxels'}"
    size = structure.get("mm2" if flat else "ml")
    return "" if size is None else f"{size:.2f} {'mm²' if flat else 'mL'}"


def _measured(rows: Sequence[Row]) -> tuple[list[tuple[str, str]], list[tuple[str, str, dict[str, Any]]]]:
    """The table of what was measured: its columns (quantity, unit), and a line for each structure of each scan."""
    lines = [
        (row.case, name, {"mL": one.get("ml"), **one["measured"]})
        for row in rows
        if row.state == "done"
        for name, one in row.structures.items()
        if one.get("measured")
    ]
    columns = {
        (quantity, re.sub(r"\{.*?\}", "", found["unit"]).replace("[hnsf'U]", "HU"))
        for _, _, quantities in lines
        for quantity, found in quantities.items()
        if quantity != "mL"
    }
    order = list(dict.fromkeys(quantity for _, _, quantities in lines for quantity in quantities))
    return sorted(columns, key=lambda column: order.index(column[0])), lines


def _short(row: Row) -> str:
    """The end of the path says enough; the whole of it, relative to the page, is shown on pointing at it."""
    return " + ".join("/".join(Path(path).parts[-3:]).removeprefix("../") for path in row.input.split(" + "))


def _reasons(package: Package, row: Row) -> list[str]:
    """Why a person should look at this scan."""
    reasons = [row.error] if row.state == "failed" else [str(flag["message"]) for flag in row.flags]
    if row.state == "done" and row.model_hash != package.hash:
        reasons.append(f"made by another model: {row.model}, {row.model_hash[:16]}")
    return [reason for reason in reasons if reason]


ARCHIVE = "archive.json"
LONGEST = 200
"""Characters of a value; DICOM allows 64 at most."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a scan is in its archive; empty where its files do not say.

    Attributes:
        study_date: As `2026-11-29`.
        description: What the scanner called the series.
    """

    accession: str = ""
    study_date: str = ""
    description: str = ""


def remember(home: Path, entries: Iterable[Entry]) -> None:
    """Add the scans of a call to what is known of the batch, in a file for its owner alone; none where nothing is.

    Args:
        home: The folder of the ledger.
        entries: The scans of the call.

    Raises:
        DataError: It cannot be written.
    """
    known = _recall(home)
    found = {entry.case: origin for entry in entries if any(asdict(origin := _origin(entry)).values())}
    if {**known, **found} != known:
        write_json(home / ARCHIVE, {case: asdict(one) for case, one in {**known, **found}.items()}, private=True)


def recall(out: Path) -> dict[str, Origin]:
    """CASE -> where it is in the archive, of all parts of a batch; empty where no file holds that."""
    folders = [out]
    if (out / PARTS).is_dir():
        from .parts import homes

        folders += [home for _, home in homes(out)]
    return {case: one for folder in folders for case, one in _recall(folder).items()}


def _recall(home: Path) -> dict[str, Origin]:
    try:
        document = read_json(home / ARCHIVE)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {str(case): _read(one) for case, one in document.items() if isinstance(one, Mapping)}


def _origin(entry: Entry) -> Origin:
    """What the headers of an entry say; several where its channels come from several studies."""

    def every(name: str) -> str:
        values = dict.fromkeys(item.archive.get(name, "") for item in entry.items)
        return legible(" + ".join(value for value in values if value))[:LONGEST]

    return Origin(every("accession"), every("study_date"), entry.description[:LONGEST])


def _read(one: Mapping[str, Any]) -> Origin:
    return Origin(*(str(one.get(name) or "")[:LONGEST] for name in ("accession", "study_date", "description")))
