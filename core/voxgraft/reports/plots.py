"""Box plots and reliability diagrams as SVG that stands in the page itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .render import render

ROW, LEFT, WIDTH, TOP = 26, 190, 470, 6
"""Pixels: the height of one structure's box, the room for its name, the plot's width, and the room above."""
DOTS = 200
"""So many cases have a dot each; of more only those beyond the whiskers, the furthest first."""
COLOURS = ("#2457a6", "#c2571a", "#1f7a54", "#8a3fa0", "#8a6d00", "#b3261e", "#357a8f", "#6b6f76")


def box_plot(rows: Mapping[str, Mapping[str, float]], limits: tuple[float, float] | None, unit: str) -> str:
    """Boxes from the lower to the upper quartile with the median in them, whiskers to the last case within one and a
    half box lengths, and a dot for each case.

    Args:
        rows: Structure -> case -> value; values that are not finite are left out.
        limits: The ends of the axis where the metric has them, such as 0 and 1.
        unit: Of the values, such as mm; empty for none.
    """
    defined = {name: {c: v for c, v in cases.items() if math.isfinite(v)} for name, cases in rows.items()}
    values = [value for cases in defined.values() for value in cases.values()]
    if not values:
        return '<p class="soft small">No case has a value.</p>'
    low, high = limits if limits and min(values) >= limits[0] and max(values) <= limits[1] else _ends(values)

    def x(value: float) -> float:
        return round(LEFT + WIDTH * (value - low) / (high - low), 1)

    return render(
        "reports/box_plot.svg",
        left=LEFT,
        width=WIDTH,
        bottom=TOP + ROW * len(defined),
        unit=unit,
        ticks=[(x(tick), f"{tick:g}") for tick in _ticks(low, high)],
        rows=[
            (name, TOP + ROW * index + ROW // 2, _box(cases, x) if cases else None)
            for index, (name, cases) in enumerate(defined.items())
        ],
    )


def reliability_plot(bins: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """How often voxels of each probability are the structure: on the dashed line they are as often as they say."""
    curves = []
    for colour, name in coloured(bins):
        rows = zip(bins[name]["voxels"], bins[name]["confidence"], bins[name]["true"], strict=True)
        points = [(round(46 + 300 * c / n, 1), round(310 - 300 * t / n, 1), int(n)) for n, c, t in rows if n]
        curves.append((name, colour, points))
    return render("reports/reliability.svg", curves=curves)


def coloured(names: Iterable[str]) -> list[tuple[str, str]]:
    """The colour of each name, first the colour."""
    return [(COLOURS[index % len(COLOURS)], name) for index, name in enumerate(names)]


def _box(cases: Mapping[str, float], x: Callable[[float], float]) -> dict[str, Any]:
    values = np.array(list(cases.values()))
    first, median, third = (float(v) for v in np.percentile(values, (25, 50, 75)))
    reach = 1.5 * (third - first)
    low, high = first - reach, third + reach
    within = values[(values >= low) & (values <= high)]
    start, end = float(within.min()), float(within.max())
    shown = list(cases.items())
    if len(shown) > DOTS:
        beyond = [(case, value) for case, value in shown if value < start or value > end]
        shown = sorted(beyond, key=lambda pair: -abs(pair[1] - median))[:DOTS]
    return {
        "start": x(start),
        "end": x(end),
        "first": x(first),
        "median": x(median),
        "width": max(1.0, round(x(third) - x(first), 1)),
        "dots": [(case, x(value), f"{value:.4g}", not low <= value <= high) for case, value in shown],
    }


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(0.0, min(values)), max(values)
    if high <= low:
        high = low + 1.0
    return low, high + (high - low) * 0.03


def _ticks(low: float, high: float) -> list[float]:
    step: Any = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [round((first + n) * step, 12) for n in range(int((high - first * step) / step + 1e-9) + 1)]
