"""The advice as a page that stands by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..reports.style import style

STYLE = ".say{margin-top:14px;padding:14px 18px;background:var(--ground);border-left:4px solid var(--accent)}"
"""What this page has beside the rules of all pages."""

ABOUT_ARMS = (
    "Short trainings, scored by Dice on the held-out volumes. In round 1 every arm had the same time; in round 2 the "
    "best pair and the same network from scratch took the same number of steps, and only this gives the verdict. "
    "Differences are means over volumes with 95 % intervals; after a few steps they are no evidence. "
    "The pair was chosen on the same volumes: the verdict allows for that, the difference is a little too large."
)
ABOUT_PROBES = (
    "How well the maps of each stage, as they are, tell the structures apart: Dice of a ridge regression on volumes "
    "that it was not fitted to, beside the better of two random initialisations. Probes order the encoders, no more."
)
PROBES = ("Encoder", "Best stage", "Probe", "Random", "Difference", "p (Holm)", "Evidence", "All stages")
ARMS = ("Round", "Arm", "Dice", "Steps", "Seconds", "Against scratch", "Evidence")


def probe_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of probes: Dice of the best stage, beside the best that a random initialisation gave."""
    rows = []
    for row in found["probes"]:
        name = f"{row['encoder']['use']} {row['encoder']['weights']}"
        if "error" in row:
            rows.append([name, "", "", "", "", "", f"{row['verdict']}: {row['error']}", ""])
            continue
        best = max(max(one) for one in row["random"])
        rows.append(
            [
                name,
                f"{row['best_stage'] + 1} of {len(row['stages'])}",
                f"{row['stages'][row['best_stage']]:.3f}",
                f"{best:.3f}",
                f"{row['difference']:+.3f}",
                f"{row['p_holm']:.3f}",
                row["verdict"],
                " ".join(f"{value:.3f}" for value in row["stages"]),
            ]
        )
    return rows


def arm_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of the tournament, the last round first, the best of a round first."""
    return [
        [
            str(row["round"]),
            row["arm"],
            f"{row['dice']:.3f}",
            str(row["steps"]),
            f"{row['seconds']:.0f}",
            _against(row.get("against_scratch")),
            row.get("evidence", ""),
        ]
        for row in found["tournament"]
    ]


def _against(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    low, high = found["ci95"]
    return f"{found['difference']:+.3f}" + ("" if low is None else f" ({low:+.3f} to {high:+.3f})")


def page(found: Mapping[str, Any]) -> str:
    """The page as HTML; all that comes from files is escaped."""
    facts = [[name.replace("_", " "), ", ".join(map(str, _listed(value)))] for name, value in found["facts"].items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Advice for {escape(found["workflow"])}</title>'
        f"<style>{style()}{STYLE}</style><header><div><h1>Advice for {escape(found['workflow'])}</h1>"
        f'<p class="soft">{found["minutes_used"]:.2f} of {found["minutes"]:g} minutes; {escape(found["ended"])}.</p>'
        f'<p class="say">{escape(found["advice"])}</p></div></header><main>'
        f"<h2>Tournament</h2><p>{ABOUT_ARMS}</p>{_table(ARMS, arm_rows(found))}"
        f"<h2>Probes</h2><p>{ABOUT_PROBES}</p>{_table(PROBES, probe_rows(found))}"
        f"<h2>The data</h2>{_table(['what', 'value'], facts)}</main></html>"
    )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>Nothing was looked at.</p>"
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
