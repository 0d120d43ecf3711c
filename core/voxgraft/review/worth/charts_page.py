"""The control charts of a review as a page with pictures that stand in it, without a script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...reports.render import render
from .charts import ACCEPTED, DICE, SECONDS, Chart
from .control import BASELINE

LEFT, RIGHT, TOP, MIDDLE, BELOW, BOTTOM = 64, 840, 24, 164, 184, 264
"""Pixels of a picture: its sides, the values from top to middle, the sums from below to the bottom."""
SHOWN = 300
"""The latest scans of a chart that are drawn."""


@dataclass(frozen=True, slots=True)
class Card:
    """The pictures of one structure: what is shown at once, and what is folded."""

    first: tuple[str, ...]
    more: tuple[str, ...]


def charts_page(summary: Mapping[str, Any], charts: Sequence[Chart]) -> str:
    """The page as HTML; all that comes from files is escaped.

    Args:
        summary: What `voxgraft.review.worth.summary.summary_of` gives.
        charts: Its charts.
    """
    decisions, scans = summary["decisions"], summary["scans"]
    alarms = _main(summary["alarms"])
    worse = sum(bool(alarm["worse"]) for alarm in alarms)
    return render(
        "review/worth/charts.html",
        title="What the review says of the model",
        tally=[
            ("bad", worse, "alarms: worse"),
            ("look", len(alarms) - worse, "alarms: better"),
            ("", scans["reviewed"], f"of {scans['total']} scans reviewed"),
            ("good", decisions["accepted"], "structures accepted as they were"),
            ("", decisions["corrected"], "corrected"),
            ("", decisions["rejected"], "rejected"),
        ],
        alarms=alarms,
        rows=[_row(name, found) for name, found in summary["structures"].items()],
        charts=_cards(charts),
        baseline=BASELINE,
    )


def _main(alarms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The alarms that say something new: a change that all scans show is not told again of one scanner or version, and
    one of Dice not again of surface Dice or of the share accepted."""
    whole = {(one["measure"], one["structure"], one["side"]) for one in alarms if one["by"] == "structure"}
    of_dice = {(one["structure"], one["side"]) for one in alarms if one["measure"] == DICE.name}

    def is_new(alarm: Mapping[str, Any]) -> bool:
        again = alarm["by"] != "structure" and (alarm["measure"], alarm["structure"], alarm["side"]) in whole
        other = alarm["measure"] not in (DICE.name, SECONDS.name)
        return not again and not (other and (alarm["structure"], alarm["side"]) in of_dice)

    return [alarm for alarm in alarms if is_new(alarm)]


def _row(name: str, found: Mapping[str, Any]) -> list[str]:
    dice, surface = found["dice"], found["surface_dice"]
    low, high = dice["ci95"]
    interval = "" if low is None else f"{low:.3f} to {high:.3f}"
    share = found["share_accepted"]
    shown = ["" if value is None else f"{value:.3f}" for value in (dice["mean"], surface["mean"])]
    accepted = "" if share is None else f"{share:.0%}"
    return [name, str(found["n"]), accepted, shown[0], interval, str(dice["undefined"] or ""), shown[1]]


def _cards(charts: Iterable[Chart]) -> dict[str, Card]:
    grouped: dict[str, list[Chart]] = {}
    for chart in charts:
        grouped.setdefault(chart.structure or "Time per scan", []).append(chart)
    cards = {}
    for name, group in grouped.items():
        shown = [one for one in group if one.by == "structure" and one.measure in (DICE, SECONDS)]
        rest = [one for one in group if one not in shown]
        cards[name] = Card(*(tuple(picture(one) for one in part) for part in (shown, rest)))
    return cards


def picture(chart: Chart) -> str:
    """One chart as SVG: the latest scans with the limits of the first ones, and the sums below."""
    start = max(0, len(chart.points) - SHOWN)
    shown, known = chart.points[start:], chart.baseline
    values = [point.value for point in shown]
    low, high = _ends(values, chart)
    top = max(chart.decision, *(max(pair) for pair in chart.sums[start:]))

    def x(index: int) -> float:
        return round(LEFT + 6 + (RIGHT - LEFT - 12) * (index - start) / max(1, len(shown) - 1), 1)

    def y(value: float) -> float:
        return round(MIDDLE - (MIDDLE - TOP) * (min(max(value, low), high) - low) / (high - low), 1)

    def z(value: float) -> float:
        return round((BELOW + BOTTOM) / 2 - value / top * (BOTTOM - BELOW) / 2, 1)

    remarks = {signal.index: signal.rule for signal in chart.remarks}
    dots = [
        {
            "x": x(index),
            "y": y(point.value),
            "remark": index in remarks,
            "text": f"{point.case}: {point.value:.4g} ({point.reader})"
            + (f"; {remarks[index]}" if index in remarks else ""),
        }
        for index, point in enumerate(shown, start)
    ]
    sums = list(enumerate(chart.sums))[start:]
    steps = [start + round((len(shown) - 1) * part / 5) for part in range(6)]
    return render(
        "review/worth/chart.svg",
        width=RIGHT + 12,
        height=BOTTOM + 40,
        left=LEFT,
        right=RIGHT,
        bottom=BOTTOM,
        title=_title(chart),
        label=_title(chart),
        axis={"seconds": "seconds", "accepted": "accepted"}.get(chart.measure.name, "Dice"),
        value_middle=(TOP + MIDDLE) / 2,
        sum_middle=(BELOW + BOTTOM) / 2,
        value_ticks=[(y(tick), f"{tick:g}") for tick in _ticks(low, high)],
        sum_ticks=[
            (z(0), "0"),
            (z(chart.decision), f"{chart.decision:.1f}"),
            (z(-chart.decision), f"{-chart.decision:.1f}"),
        ],
        case_ticks=[(x(index), str(index + 1)) for index in dict.fromkeys(steps)],
        band=_band(known, y),
        baseline_end=x(BASELINE - 1) if start < BASELINE < len(chart.points) else None,
        dots=dots,
        low=" ".join(f"{x(index)},{z(-pair[0])}" for index, pair in sums),
        high=" ".join(f"{x(index)},{z(pair[1])}" for index, pair in sums),
        alarms=[
            {"x": x(signal.index), "text": chart.sentence(signal)} for signal in chart.alarms if signal.index >= start
        ],
    )


def _title(chart: Chart) -> str:
    where = f", {chart.by} {chart.group}" if chart.group else ""
    latest = f", the latest {SHOWN} of {len(chart.points)}" if len(chart.points) > SHOWN else ""
    return f"{chart.measure.title[0].upper()}{chart.measure.title[1:]}{where}{latest}"


def _band(known: Mapping[str, float | None] | None, y: Any) -> dict[str, float] | None:
    if known is None or known["low"] is None or known["high"] is None or known["median"] is None:
        return None
    top, bottom = y(known["high"]), y(known["low"])
    return {"top": top, "height": max(1.0, round(bottom - top, 1)), "median": y(known["median"])}


def _ends(values: Sequence[float], chart: Chart) -> tuple[float, float]:
    """The ends of the axis: whole tenths for Dice, from 0 for times."""
    if chart.measure is ACCEPTED:
        return 0.0, 1.0
    if chart.measure is SECONDS:
        return 0.0, max(1.0, sorted(values)[int(0.98 * (len(values) - 1))] * 1.1)
    low = math.floor(min(values) * 10) / 10
    return min(low, 0.9), 1.0


def _ticks(low: float, high: float) -> list[float]:
    """About five round values from end to end, the last one not beyond the end."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= 5)
    first = math.ceil(low / step - 1e-9)
    return [round((first + number) * step, 10) for number in range(int((high - first * step) / step + 1e-9) + 1)]
