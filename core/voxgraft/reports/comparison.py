"""The page of a comparison: the table of differences, and curves of validation Dice over steps and minutes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .plots import COLOURS, legend
from .style import style

if TYPE_CHECKING:
    from ..scoring.comparison import Comparison

Curve = Sequence[Mapping[str, float]]

STYLE = (
    "svg{width:100%;max-width:32rem}svg text{font-size:11px;fill:var(--soft)}.key{margin-right:1rem}"
    ".key i{display:inline-block;width:.8em;height:.8em;margin-right:.3em}"
    ".better{color:var(--good)}.worse{color:var(--bad)}"
)
"""What this page has beside the rules of all pages."""
WIDTH, HEIGHT, LEFT, BOTTOM = 480, 240, 44, 34


def curves_of(path: Path) -> dict[str, Curve]:
    """The validation curves that a run left: its own, or those of its folds and draws by name; none of a file."""
    found: dict[str, Curve] = {}
    for summary in sorted([*path.glob("train/summary.json"), *path.glob("members/*/train/summary.json")]):
        try:
            curve = json.loads(summary.read_text(encoding="utf-8"))["curve"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(curve, list) and curve:
            member = summary.parent.parent
            found["" if member == path else member.name] = curve
    return found


def comparison_page(comparisons: Sequence[Comparison], curves: Mapping[str, Mapping[str, Curve]], how: str) -> str:
    """The page as HTML; all that comes from files is escaped.

    Args:
        curves: RUN -> fold or draw -> curve; those of one run have one colour.
        how: How p-values were made and corrected.
    """
    rows = "".join(_row(one) for one in comparisons)
    heads = (
        "Run",
        "Verdict",
        "Against",
        "Metric",
        "Structure",
        "Means",
        "Difference",
        "95 % interval",
        "p",
        "Patients",
    )
    plots = "".join(
        f"<h3>over {what}</h3>{_plot(curves, key, scale)}"
        for what, key, scale in (("steps", "step", 1.0), ("minutes", "seconds", 1 / 60))
        if any(curves.values())
    )
    shown = f"<h2>Validation Dice</h2><p>{legend(list(curves))}</p>{plots}" if plots else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Comparison of runs</title>'
        f"<style>{style()}{STYLE}</style><header><div><h1>Comparison of runs</h1>"
        f'<p class="soft">{escape(how)}</p></div></header><main><div class="scroll"><table>'
        f"<tr>{''.join(f'<th>{one}</th>' for one in heads)}</tr>{rows}</table></div>{shown}</main></html>"
    )


def _row(one: Comparison) -> str:
    """The verdict stands beside the run: what comes first is seen on a narrow screen."""
    low, high = one.ci95
    cells = (
        one.against,
        one.metric,
        one.structure,
        f"{one.mean:.4f}, {one.against_mean:.4f}",
        f"{one.difference:+.4f}",
        f"{low:+.4f} to {high:+.4f}" if math.isfinite(low) else "–",
        f"{one.p:.4f} (Holm {one.p_holm:.4f}, BH {one.p_bh:.4f})",
        f"{one.patients}",
    )
    kind = one.verdict if one.verdict in ("better", "worse") else ""
    rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><td>{escape(one.run)}</td><td class="{kind}">{one.verdict}</td>{rest}</tr>'


def _plot(curves: Mapping[str, Mapping[str, Curve]], key: str, scale: float) -> str:
    lines: list[tuple[str, str, list[tuple[float, float]]]] = []
    for place, members in enumerate(curves.values()):
        for name, curve in members.items():
            points = [(float(row[key]) * scale, float(row["dice"])) for row in curve if key in row and "dice" in row]
            points = [point for point in points if math.isfinite(point[1])]
            lines.append((COLOURS[place % len(COLOURS)], name, points))
    most = max((x for _, _, points in lines for x, _ in points), default=0.0) or 1.0

    def at(x: float, y: float) -> str:
        return f"{LEFT + (WIDTH - LEFT - 8) * x / most:.1f},{8 + (HEIGHT - BOTTOM - 8) * (1 - y):.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="validation Dice">']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = at(0, tick).split(",")
        parts.append(f'<line x1="{x}" x2="{WIDTH - 8}" y1="{y}" y2="{y}" stroke="#e3e8ee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{tick:g}</text>')
        x = at(most * tick, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="{HEIGHT - 12}" text-anchor="middle">{most * tick:.3g}</text>')
    for colour, name, points in lines:
        path = " ".join(at(x, y) for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"><title>{escape(name)}</title>'
            "</polyline>"
        )
    return "".join(parts) + "</svg>"
