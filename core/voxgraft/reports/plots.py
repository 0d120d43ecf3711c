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
COLOURS = 8
"""The classes `c0`, `c1` ... of `page.css` are so many colours, others in the dark."""


def box_plot(rows: Mapping[str, Mapping[str, float]], limits: tuple[float, float] | None, title: str) -> str:
    """Boxes from the lower to the upper quartile with the median in them, whiskers to the last case within one and a
    half box lengths, and a dot for each case.

    Args:
        rows: Structure -> case -> value; values that are not finite are left out.
        limits: The ends of the axis where the metric has them, such as 0 and 1.
        title: Of the axis, such as `hd95 (mm)`.
    """
    defined = {name: {c: v for c, v in cases.items() if math.isfinite(v)} for name, cases in rows.items()}
    values = [value for cases in defined.values() for value in cases.values()]
    if not values:
        return '<p class="soft small">No case has a value.</p>'
    within = limits and min(values) >= limits[0] and max(values) <= limits[1]
    ticks = round_ticks(*(limits if limits and within else (min(0.0, *values), max(0.0, *values))))
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return round(LEFT + WIDTH * (value - low) / (high - low), 1)

    return render(
        "reports/box_plot.svg",
        left=LEFT,
        width=WIDTH,
        bottom=TOP + ROW * len(defined),
        title=title,
        ticks=[(x(tick), f"{tick:g}") for tick in ticks],
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
        points = [(round(62 + 300 * c / n, 1), round(310 - 300 * t / n, 1), int(n)) for n, c, t in rows if n]
        curves.append((name, colour, points))
    return render("reports/reliability.svg", curves=curves)


def coloured(names: Iterable[str]) -> list[tuple[str, str]]:
    """The class of colour of each name, first the colour."""
    return [(f"c{index % COLOURS}", name) for index, name in enumerate(names)]


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


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers at even steps, of which the first and the last are the ends of the axis: all values lie between."""
    if high <= low:
        high = low + 1.0
    step: Any = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
