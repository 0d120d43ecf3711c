"""The page of an evaluation as HTML; all that comes from files is escaped."""

from __future__ import annotations

import math
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ..scoring.micro import POOLED
from ..scoring.scores import MEAN, Scores
from ..scoring.subgroups import AGES, FEW
from ..support.files import write_text
from .plots import box_plot, legend, reliability_plot
from .style import style

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

WORST = 6
"""Cases that are shown as pictures."""
SHOWN = 3
"""Metrics in the tables of subgroups."""


@dataclass(frozen=True, slots=True)
class About:
    """What a metric's card says of it."""

    summary: str = ""
    unit: str = ""
    higher_is_better: bool = True


def about(scores: Scores, catalogue: Catalogue) -> dict[str, About]:
    """METRIC -> what its card says; a metric whose plugin is not here says nothing."""
    cards = {spec.name: spec for _, spec in catalogue.of("metric")}
    found = {}
    for metric in scores.summary:
        card = cards.get(str(scores.metrics.get(metric, {}).get("use", metric)))
        found[metric] = About(
            str(getattr(card, "summary", "")),
            str(getattr(card, "unit", "")),
            bool(getattr(card, "higher_is_better", True)),
        )
    return found


def worst_cases(scores: Scores, cards: Mapping[str, About], most: int = WORST) -> list[str]:
    """The cases that are worst by the mean over structures of the first metric, worst first."""
    for metric in list(scores.summary)[:1]:
        values = {case: found.get(metric, {}).get(MEAN, math.nan) for case, found in scores.cases.items()}
        defined = sorted((value, case) for case, value in values.items() if math.isfinite(value))
        if not cards.get(metric, About()).higher_is_better:
            defined.sort(key=lambda pair: (-pair[0], pair[1]))
        return [case for _, case in defined[:most]]
    return []


def write_page(
    target: Path, scores: Scores, cards: Mapping[str, About], title: str, pictures: Mapping[str, bytes] | None = None
) -> None:
    """Write the page, whole or not at all.

    Args:
        pictures: CASE -> PNG of its worst slice.

    Raises:
        DataError: The disk is full.
    """
    write_text(target, page(scores, cards, title, pictures or {}))


def page(scores: Scores, cards: Mapping[str, About], title: str, pictures: Mapping[str, bytes]) -> str:
    """The page as HTML."""
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    patients = len(set(scores.groups.values()))
    counts = [
        ("good", len(scores.cases), "cases scored"),
        ("", patients, "patients"),
        ("bad", len(scores.failed), "failed"),
        ("look", len(scores.unmatched), "predictions without a reference"),
    ]
    return template.substitute(
        style=style(),
        title=escape(title),
        written=time.strftime("Written %Y-%m-%d %H:%M UTC", time.gmtime()),
        counts="".join(f'<span class="count {kind}"><b>{n}</b> {text}</span>' for kind, n, text in counts if n),
        metrics="\n".join(_metric(name, scores, cards.get(name, About())) for name in scores.summary),
        calibration=_calibration(scores),
        subgroups=_subgroups(scores, cards),
        worst=_worst(scores, pictures),
        cases=_cases(scores, cards),
        failed=_failed(scores),
        definitions=_definitions(scores, cards),
        footer=f"VoxGraft {escape(version('voxgraft'))}. Every value is in scores.json and scores.csv; what the "
        "numbers mean, in docs/metrics.md.",
    )


def _metric(name: str, scores: Scores, card: About) -> str:
    rows = {
        structure: {case: found.get(name, {}).get(structure, math.nan) for case, found in scores.cases.items()}
        for structure in scores.summary[name]
        if structure != MEAN
    }
    better = "higher" if card.higher_is_better else "lower"
    unit = f", {escape(card.unit)}" if card.unit else ""
    share = card.higher_is_better and not card.unit
    plot = box_plot(rows, (0.0, 1.0) if share else None, card.unit)
    return (
        f'<section id="metric-{escape(name, quote=True)}"><h2>{escape(name)} '
        f'<span class="soft small">{escape(card.summary)} ({better} is better{unit})</span></h2>'
        f'<div class="two"><div class="panel">{plot}</div><div class="scroll">{_summary(name, scores)}</div></div>'
        "</section>"
    )


def _summary(name: str, scores: Scores) -> str:
    micro = scores.micro.get(name, {})
    head = ["Structure", "Mean", "95 % interval", "SD", "Median", "n", "Undefined", *(["Micro"] if micro else [])]
    lines = []
    for structure, one in scores.summary[name].items():
        mark = ' <span class="tag wait">region</span>' if structure in scores.regions else ""
        cells = [
            f"<td>{escape(structure)}{mark}</td>",
            *(_number_cell(text) for text in (_number(one["mean"]), _interval(one["ci95"]), _number(one["sd"]))),
            _number_cell(_number(one["median"])),
            _number_cell(str(one["n"])),
            _number_cell(str(one["undefined"])),
        ]
        if micro:
            pooled = micro.get(POOLED if structure == MEAN else structure, {})
            title = escape(_interval(pooled.get("ci95", (math.nan, math.nan))), quote=True)
            cells.append(f'<td class="number" title="95 % interval {title}">{_number(pooled.get("value"))}</td>')
        lines.append(f"<tr{' class=total' if structure == MEAN else ''}>{''.join(cells)}</tr>")
    return f'<table class="numbers">{_head(head)}<tbody>{"".join(lines)}</tbody></table>'


def _calibration(scores: Scores) -> str:
    if not scores.calibration:
        return ""
    names = list(scores.calibration)
    return (
        '<section><h2>Calibration <span class="soft small">how often voxels of each probability are the structure, '
        "all cases together; below the dashed line the model is too sure</span></h2>"
        f'<div class="panel">{reliability_plot(scores.calibration)}<p class="keys">{legend(names)}</p></div></section>'
    )


def _subgroups(scores: Scores, cards: Mapping[str, About]) -> str:
    if not scores.subgroups:
        return ""
    metrics = list(scores.summary)[:SHOWN]
    tables = []
    for column, groups in scores.subgroups.items():
        head = [column, "Cases", "Patients", *(_titled(metric, cards) for metric in metrics)]
        lines = []
        for group, one in groups.items():
            few = ' <span class="tag look">few</span>' if one["few"] else ""
            cells = [
                f"<td>{escape(group)}{few}</td>",
                _number_cell(str(one["cases"])),
                _number_cell(str(one["patients"])),
            ]
            for metric in metrics:
                mean = one["summary"].get(metric, {}).get(MEAN, {})
                interval = _interval(mean.get("ci95", (None, None)))
                cells.append(
                    f'<td class="number">{_number(mean.get("mean"))} <span class="soft small">{interval}, '
                    f"n {mean.get('n', 0)}</span></td>"
                )
            lines.append(f"<tr>{''.join(cells)}</tr>")
        tables.append(
            f'<div class="scroll"><table class="numbers">{_head(head)}<tbody>{"".join(lines)}</tbody></table></div>'
        )
    note = (
        f"Means over structures with 95 % intervals (bootstrap over patients), not corrected for the number of groups. "
        f"“few”: fewer than {FEW} patients; don't read much into it. Ages are cut at {', '.join(map(str, AGES[1:]))} "
        "years, other numbers at the thirds of the cases."
    )
    return f'<section><h2>Subgroups</h2><p class="soft small">{note}</p>{"".join(tables)}</section>'


def _worst(scores: Scores, pictures: Mapping[str, bytes]) -> str:
    if not pictures:
        return ""
    figures = []
    for case, png in pictures.items():
        values = ", ".join(
            f"{escape(metric)} {_number(found[MEAN])}" for metric, found in list(scores.cases.get(case, {}).items())[:4]
        )
        source = f"data:image/png;base64,{b64encode(png).decode('ascii')}"
        figures.append(
            f'<figure><img src="{source}" alt="worst slice of {escape(case, quote=True)}">'
            f'<figcaption><span class="case">{escape(case)}</span><br><span class="small soft">{values}</span>'
            "</figcaption></figure>"
        )
    first = escape(next(iter(scores.summary), ""))
    return (
        f'<section><h2>Worst cases <span class="soft small">by {first}; the slice with most wrong voxels</span></h2>'
        '<p class="keys"><span class="key"><i style="background:#40c4ff"></i>reference</span>'
        '<span class="key"><i style="background:#ff8c28"></i>prediction</span></p>'
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


def _cases(scores: Scores, cards: Mapping[str, About]) -> str:
    metrics = list(scores.summary)
    head = "".join(f'<th data-sort="{place}">{_titled(metric, cards)}</th>' for place, metric in enumerate(metrics))
    lines = []
    for case, found in scores.cases.items():
        values = [found.get(metric, {}).get(MEAN, math.nan) for metric in metrics]
        cells = "".join(
            f'<td class="number" data-value="{value if math.isfinite(value) else ""}">{_number(value)}</td>'
            for value in values
        )
        lines.append(f'<tr><td class="case">{escape(case)}</td>{cells}</tr>')
    return (
        '<section><div class="bar"><h2>All cases <span class="soft small">means over structures</span></h2>'
        '<label class="small soft">Find <input id="find" type="search" placeholder="case"></label></div>'
        f'<div class="scroll"><table id="cases" class="numbers"><thead><tr><th>Case</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _failed(scores: Scores) -> str:
    if not scores.failed and not scores.unmatched:
        return ""
    rows = [*scores.failed.items(), *((case, "this prediction has no reference") for case in scores.unmatched)]
    lines = "".join(f'<tr><td class="case">{escape(case)}</td><td>{escape(why)}</td></tr>' for case, why in rows)
    return (
        f'<section><h2>Not scored</h2><div class="scroll"><table>{_head(["Case", "Why"])}<tbody>{lines}</tbody></table>'
        "</div></section>"
    )


def _definitions(scores: Scores, cards: Mapping[str, About]) -> str:
    lines = []
    for name in scores.summary:
        card = cards.get(name, About())
        options = {key: value for key, value in scores.metrics.get(name, {}).items() if key != "use"}
        text = ", ".join(f"{key} {value}" for key, value in options.items())
        lines.append(
            f'<tr><td><a href="#metric-{escape(name, quote=True)}">{escape(name)}</a></td>'
            f"<td>{escape(card.summary)}</td><td>{escape(text)}</td></tr>"
        )
    return f"<table>{_head(['Metric', 'What it is', 'Options'])}<tbody>{''.join(lines)}</tbody></table>"


def _titled(metric: str, cards: Mapping[str, About]) -> str:
    unit = cards.get(metric, About()).unit
    return escape(f"{metric} ({unit})" if unit else metric)


def _head(names: Sequence[str]) -> str:
    return f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr></thead>"


def _number_cell(text: str) -> str:
    return f'<td class="number">{text}</td>'


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _interval(ends: Sequence[Any]) -> str:
    low, high = ends
    return "–" if _number(low) == "–" else f"{_number(low)} to {_number(high)}"
