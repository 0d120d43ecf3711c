"""`report.html`: the worklist of a batch as one page, doubtful scans first; it needs no server and no network."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from ..packages.package import Package
from ..reports.style import style
from ..support.files import write_text
from ..support.texts import legible
from .ledger import Row
from .outputs import PREVIEW
from .quality import LOW_CONFIDENCE, is_of_the_scan

REPORT = "report.html"
ORDER = {"failed": 0, "done": 1, "running": 2, "waiting": 2}


def write_report(out: Path, rows: Sequence[Row], package: Package) -> None:
    """Write the page for everything the ledger knows.

    Raises:
        DataError: The disk is full.
    """
    write_text(out / REPORT, page(rows, package, legible(out.resolve().name)))


def page(rows: Sequence[Row], package: Package, name: str) -> str:
    """The page as HTML; all that comes from files is escaped."""
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    work = by_doubt(row for row in rows if row.state != "left-out")
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return template.substitute(
        style=style(),
        title=f"Worklist {escape(name)}",
        written=f"{len(work)} scans, written {written}",
        counts=_counts(rows),
        model=_model(package),
        rows="\n".join(_row(rank, row, package) for rank, row in enumerate(work)),
        left=_left_out([row for row in rows if row.state == "left-out"]),
        footer=f"VoxGraft {escape(version('voxgraft'))}. The state of every scan is in ledger.sqlite beside this page; "
        "volumes and flags are in each scan's report.json.",
    )


def by_doubt(rows: Iterable[Row]) -> list[Row]:
    """Failed scans, then those with faults of their own, with most flags, with least confidence, then what is to do."""

    def doubt(row: Row) -> tuple[int, int, int, float, str]:
        bad = sum(is_of_the_scan(str(flag["code"])) for flag in row.flags)
        certain = 1.0 if row.confidence is None else row.confidence
        return ORDER[row.state], -bad, -len(row.flags), certain, row.case

    return sorted(rows, key=doubt)


def _counts(rows: Sequence[Row]) -> str:
    done = [row for row in rows if row.state == "done"]
    counts = [
        ("bad", sum(row.state == "failed" for row in rows), "failed"),
        ("look", sum(bool(row.flags) for row in done), "to look at first"),
        ("good", sum(not row.flags for row in done), "without a flag"),
        ("", sum(row.state in ("waiting", "running") for row in rows), "still to do"),
        ("", sum(row.state == "left-out" for row in rows), "left out"),
    ]
    return "".join(f'<span class="count {kind}"><b>{n}</b> {text}</span>' for kind, n, text in counts if n)


def _model(package: Package) -> str:
    """Identity and card of the model, in a few lines."""
    facts: Mapping[str, Any] = package.facts
    number = facts.get("version")
    lines = [
        ("Model", f"{package.name}{f', version {number}' if number else ''}"),
        ("Fingerprint", package.hash[:16]),
        *([("Asked for as", facts["reference"])] if facts.get("reference", "").startswith("models:/") else []),
        ("Finds", ", ".join(package.labels.names)),
        ("In", f"{package.plan.modality.upper()} images ({', '.join(package.plan.channels)})"),
    ]
    split = facts.get("split") or {}
    if split.get("train"):
        lines.append(("Trained on", f"{len(split['train'])} scans, {len(split.get('validation', ()))} held out"))
    if scores := _scores(facts.get("scores") or {}):
        lines.append(("On held-out scans", scores))
    if made := facts.get("created"):
        lines.append(("Made", f"{made} with VoxGraft {facts.get('voxgraft', 'of an unknown version')}"))
    return "".join(f"<dt>{name}</dt><dd>{escape(str(text))}</dd>" for name, text in lines)


def _scores(summary: Mapping[str, Any]) -> str:
    """The first metric's mean of each structure, with its interval."""
    metric = next(iter(summary), None)
    if metric is None:
        return ""
    parts = []
    for name, one in summary[metric].items():
        if one.get("mean") is not None:
            low, high = one.get("ci95") or (None, None)
            interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
            parts.append(f"{name} {one['mean']:.3f}{interval}")
    return f"{metric.capitalize()} {', '.join(parts)}" if parts else ""


def _row(rank: int, row: Row, package: Package) -> str:
    kind = {"failed": "bad", "done": "look" if row.flags else "good"}.get(row.state, "wait")
    seconds = sum(row.seconds.values())
    confidence = row.confidence
    scan = f'<td><div class="case">{escape(row.case)}</div>{_where(row)}<div class="small">{_links(row)}</div></td>'
    cells = [f'<td class="picture">{_picture(row)}</td>', scan]
    if row.state == "done":
        cells += [
            f"<td>{_why(row, kind, package)}</td>",
            f"<td>{_found(row)}</td>",
            f'<td class="number">{"" if confidence is None else f"{confidence:.0%}"}</td>',
            f'<td class="number">{seconds:.1f}</td>',
        ]
    else:
        cells.append(f'<td colspan="4">{_why(row, kind, package)}</td>')
    sort = f'data-rank="{rank}" data-confidence="{2 if confidence is None else confidence}" data-seconds="{seconds}"'
    return f'<tr class="{kind}" {sort}>{"".join(cells)}</tr>'


def _picture(row: Row) -> str:
    if row.state != "done" or PREVIEW not in row.outputs:
        return ""
    source = f"{quote(row.case)}/{PREVIEW}"
    return f'<a href="{source}"><img src="{source}" alt="slices of {escape(row.case)}" loading="lazy"></a>'


def _links(row: Row) -> str:
    if row.state != "done":
        return ""
    return " &middot; ".join(
        f'<a href="{quote(row.case)}/{quote(name)}">{escape(name)}</a>' for name in row.outputs if name != PREVIEW
    )


def _where(row: Row) -> str:
    """The end of the path says enough; the whole of it, relative to this page, is shown on pointing at it."""
    short = " + ".join("/".join(Path(path).parts[-3:]).removeprefix("../") for path in row.input.split(" + "))
    return f'<div class="small soft path" title="{escape(row.input)}">{escape(short)}</div>'


def _why(row: Row, kind: str, package: Package) -> str:
    tags = {"bad": "failed", "look": "look", "good": "no flag", "wait": row.state}
    reasons = [row.error] if row.state == "failed" else [str(flag["message"]) for flag in row.flags]
    if row.state == "done" and row.model_hash != package.hash:
        reasons.append(f"made by another model: {row.model}, {row.model_hash[:16]}")
    listed = "".join(f"<li>{escape(reason)}</li>" for reason in reasons if reason)
    return f'<span class="tag {kind}">{escape(tags[kind])}</span>' + (
        f'<ul class="why">{listed}</ul>' if listed else ""
    )


def _found(row: Row) -> str:
    lines = []
    for name, one in row.structures.items():
        size = f"{one['ml']:.2f} mL" if "ml" in one else f"{one['mm2']:.1f} mm<sup>2</sup>"
        sure = one.get("confidence")
        low = " low" if sure is not None and sure < LOW_CONFIDENCE else ""
        meter = "" if sure is None else f'<span class="meter{low}"><i style="width:{sure:.0%}"></i></span>'
        lines.append(
            f'<tr><td>{escape(name)}</td><td class="number">{size if one["voxels"] else "not found"}</td>'
            f"<td>{meter}</td></tr>"
        )
    return f'<table class="structures">{"".join(lines)}</table>'


def _left_out(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f'<tr><td><div class="case">{escape(row.case)}</div>{_where(row)}</td><td>{escape(row.error)}</td></tr>'
        for row in rows
    )
    head = "<thead><tr><th>Series</th><th>Why</th></tr></thead>"
    return f'<h2>Left out</h2><div class="scroll"><table>{head}<tbody>{lines}</tbody></table></div>'
