"""The advice as a page that stands by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .8rem;border-bottom:1px solid #d8dee6;"
    "text-align:left}.say{padding:1rem;background:#eef3fa;border-left:4px solid #2457a6}"
)


def page(found: Mapping[str, Any]) -> str:
    """The page as HTML; all that comes from files is escaped."""
    probes = [
        [
            f"{row['encoder']['use']} {row['encoder']['weights']}",
            _numbers(row.get("stages", [])),
            " | ".join(_numbers(one) for one in row.get("random", [])),
            f"{row['difference']:+.3f}" if "difference" in row else row.get("error", ""),
            f"{row['p_holm']:.3f}" if "p_holm" in row else "",
            row["verdict"],
        ]
        for row in found["probes"]
    ]
    arms = [
        [str(row["round"]), row["arm"], f"{row['dice']:.3f}", str(row["steps"]), f"{row['seconds']:.0f}"]
        for row in sorted(found["tournament"], key=lambda row: (-row["round"], -row["dice"]))
    ]
    facts = [[name.replace("_", " "), ", ".join(map(str, _listed(value)))] for name, value in found["facts"].items()]
    heads = ["Encoder", "Probe Dice by stage", "Two random initialisations", "Best stage minus random", "p (Holm)", ""]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Advice for {escape(found["workflow"])}</title>'
        f"<style>{STYLE}</style><h1>Advice for {escape(found['workflow'])}</h1>"
        f'<p class="say">{escape(found["advice"])}</p>'
        f"<p>{found['minutes_used']:.2f} of {found['minutes']:g} minutes; {escape(found['ended'])}.</p>"
        f"<h2>The data</h2>{_table(['', ''], facts)}<h2>Probes</h2>{_table(heads, probes)}"
        f"<h2>Tournament</h2>{_table(['Round', 'Arm', 'Dice', 'Steps', 'Seconds'], arms)}</html>"
    )


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>Nothing was looked at.</p>"
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
