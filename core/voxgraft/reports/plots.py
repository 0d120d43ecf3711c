"""Box plots and reliability diagrams as SVG that stands in the page itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

ROW, LEFT, WIDTH, TOP, BOTTOM = 26, 190, 470, 6, 30
"""Pixels: the height of one structure's box, the room for its name, the plot's width, and the room above and below."""
DOTS = 200
"""So many cases have a dot each; of more only those beyond the whiskers, the furthest first."""
LONGEST = 26
"""Letters of a name that fit before a box; the whole of it is shown on pointing at it."""
COLOURS = ("#2457a6", "#c2571a", "#1f7a54", "#8a3fa0", "#8a6d00", "#b3261e", "#357a8f", "#6b6f76")


def box_plot(rows: Mapping[str, Mapping[str, float]], limits: tuple[float, float] | None, unit: str) -> str:
    """Boxes from the lower to the upper quartile with the median in them, whiskers to the last case within one and a
    half box lengths, and a dot for each case.

    Args:
        rows: Structure -> case -> value; values that are not finite are left out.
        limits: The ends of the axis where the metric has them, such as 0 and 1.
    """
    defined = {name: {c: v for c, v in cases.items() if math.isfinite(v)} for name, cases in rows.items()}
    values = [value for cases in defined.values() for value in cases.values()]
    if not values:
        return '<p class="soft small">No case has a value.</p>'
    low, high = limits if limits and min(values) >= limits[0] and max(values) <= limits[1] else _ends(values)
    height = TOP + ROW * len(defined) + BOTTOM
    parts = [
        f'<svg class="plot" viewBox="0 0 {LEFT + WIDTH + 20} {height}" role="img" aria-label="box plots">',
        _axis(low, high, TOP + ROW * len(defined), unit),
    ]
    for index, (name, cases) in enumerate(defined.items()):
        middle = TOP + ROW * index + ROW / 2
        short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        parts.append(
            f'<text x="{LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(short)}'
            f"<title>{escape(name)}</title></text>"
        )
        parts.append(_box(cases, middle, low, high))
    return "".join(parts) + "</svg>"


def reliability_plot(bins: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """How often voxels of each probability are the structure: on the dashed line they are as often as they say."""
    size, left, top = 300, 46, 10

    def x(value: float) -> float:
        return left + size * value

    def y(value: float) -> float:
        return top + size * (1 - value)

    parts = [
        f'<svg class="plot square" viewBox="0 0 {left + size + 14} {top + size + 40}" role="img" '
        'aria-label="reliability">',
        f'<rect x="{left}" y="{top}" width="{size}" height="{size}" class="frame"/>',
        f'<line x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}" class="ideal"/>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{x(tick):.1f}" y="{top + size + 16}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<text x="{x(0.5)}" y="{top + size + 34}" text-anchor="middle">mean probability</text>')
    for index, (name, one) in enumerate(bins.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = [
            (x(c / n), y(t / n), n) for n, c, t in zip(one["voxels"], one["confidence"], one["true"], strict=True) if n
        ]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        for px, py, n in points:
            parts.append(
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.6" fill="{colour}">'
                f"<title>{escape(name)}: {int(n)} voxels</title></circle>"
            )
    return "".join(parts) + "</svg>"


def legend(names: Sequence[str]) -> str:
    """The colours of `reliability_plot`."""
    return "".join(
        f'<span class="key"><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )


def _box(cases: Mapping[str, float], middle: float, low: float, high: float) -> str:
    def x(value: float) -> float:
        return LEFT + WIDTH * (value - low) / (high - low)

    if not cases:
        return f'<text x="{LEFT}" y="{middle + 4:.1f}" class="none">no value</text>'
    values = np.array(list(cases.values()))
    first, median, third = (float(v) for v in np.percentile(values, (25, 50, 75)))
    reach = 1.5 * (third - first)
    ends = values[(values >= first - reach) & (values <= third + reach)]
    start, end = float(ends.min()), float(ends.max())
    parts = [
        f'<line x1="{x(start):.1f}" x2="{x(end):.1f}" y1="{middle:.1f}" y2="{middle:.1f}" class="whisker"/>',
        f'<rect x="{x(first):.1f}" y="{middle - 7:.1f}" width="{max(1.0, x(third) - x(first)):.1f}" height="14" '
        'class="box"/>',
        f'<line x1="{x(median):.1f}" x2="{x(median):.1f}" y1="{middle - 7:.1f}" y2="{middle + 7:.1f}" class="median"/>',
    ]
    shown = list(cases.items())
    if len(shown) > DOTS:
        beyond = [(case, value) for case, value in shown if value < start or value > end]
        shown = sorted(beyond, key=lambda pair: -abs(pair[1] - median))[:DOTS]
    for case, value in shown:
        away = " out" if value < first - reach or value > third + reach else ""
        parts.append(
            f'<circle cx="{x(value):.1f}" cy="{middle:.1f}" r="2.2" class="dot{away}">'
            f"<title>{escape(case)}: {value:.4g}</title></circle>"
        )
    return "".join(parts)


def _axis(low: float, high: float, bottom: float, unit: str) -> str:
    parts = []
    for tick in _ticks(low, high):
        x = LEFT + WIDTH * (tick - low) / (high - low)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    if unit:
        parts.append(f'<text x="{LEFT + WIDTH + 16}" y="{bottom + 16}" text-anchor="end">{escape(unit)}</text>')
    return "".join(parts)


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
