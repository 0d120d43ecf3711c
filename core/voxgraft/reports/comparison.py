"""The page of a comparison: the table of differences, and curves of validation Dice over steps and minutes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.texts import counted
from .plots import coloured, round_ticks
from .render import render

if TYPE_CHECKING:
    from ..scoring.comparison import Comparison

Curve = Sequence[Mapping[str, float]]

HEADS = (
    "Run",
    "Verdict",
    "Against",
    "Metric",
    "Structure",
    "Means",
    "Difference",
    "95 % interval",
    "p",
    "Cases",
    "Left out, not defined",
)

WIDTH, HEIGHT, LEFT, TOP = 428, 198, 44, 8
"""Pixels: the size of a plot's inside, and where it begins in the SVG; the titles of the axes stand around it."""


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
        comparisons: The rows of the table.
        curves: RUN -> fold or draw -> curve; those of one run have one colour.
        how: How p-values were made and corrected.
    """
    axes = {"steps": ("step", 1.0), "minutes": ("seconds", 1 / 60)}
    return render(
        "reports/comparison.html",
        title="Comparison of runs",
        how=how,
        HEADS=HEADS,
        rows=[comparison_row(one) for one in comparisons],
        colours=coloured(curves),
        plots={over: _plot(curves, *axis) for over, axis in axes.items()} if any(curves.values()) else {},
    )


def comparison_row(one: Comparison) -> Sequence[str]:
    """The cells below `HEADS`. The verdict stands beside the run: what comes first is seen on a narrow screen."""
    low, high = one.ci95
    return (
        one.run,
        f"{one.verdict}{', mixed' if one.mixed else ''}",
        one.against,
        one.metric,
        one.structure,
        f"{one.mean:.4f}, {one.against_mean:.4f}",
        f"{one.difference:+.4f}",
        f"{low:+.4f} to {high:+.4f}" if math.isfinite(low) else "–",
        f"{one.p:.4f} (Holm {one.p_holm:.4f}, BH {one.p_bh:.4f})",
        f"{one.n} of {one.common}, {counted(one.patients, 'patient')}",
        f"{one.undefined[0]} of {one.run}, {one.undefined[1]} of {one.against}" if any(one.undefined) else "none",
    )


def _plot(curves: Mapping[str, Mapping[str, Curve]], key: str, scale: float) -> dict[str, Any]:
    """Ticks and lines in pixels; Dice from 0 to 1 upwards, `key` times `scale` from 0 to the last tick to the right."""
    lines = []
    for colour, run in coloured(curves):
        for name, curve in curves[run].items():
            points = [(float(row[key]) * scale, float(row["dice"])) for row in curve if key in row and "dice" in row]
            lines.append((colour, name, [point for point in points if math.isfinite(point[1])]))
    ticks = round_ticks(0.0, max((x for _, _, points in lines for x, _ in points), default=0.0))
    most = ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + WIDTH * x / most, 1), round(TOP + HEIGHT * (1 - y), 1)

    return {
        "dice": [(at(0, tick)[1], f"{tick:g}") for tick in (0, 0.25, 0.5, 0.75, 1)],
        "along": [(at(tick, 0)[0], f"{tick:g}") for tick in ticks],
        "lines": [(colour, name, [at(*point) for point in points]) for colour, name, points in lines],
    }
