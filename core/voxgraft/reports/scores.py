"""The page of an evaluation as HTML; all that comes from files is escaped."""

from __future__ import annotations

import math
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..scoring.bootstrap import POOLED
from ..scoring.scores import MEAN, CaseScores, Scores
from ..scoring.subgroups import AGES, FEW
from ..support.files import write_text
from .plots import box_plot, coloured, reliability_plot
from .render import render

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
    """The cases that are worst by the mean over structures of the first metric, worst first.

    Args:
        scores: What an evaluation found.
        cards: METRIC -> what its card says, such as which direction is better.
        most: At most so many cases.
    """
    for metric in list(scores.summary)[:1]:
        values = {case: _mean(found, metric) for case, found in scores.cases.items()}
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
    """The page as HTML.

    Args:
        scores: What an evaluation found.
        cards: METRIC -> what its card says.
        title: Of the page.
        pictures: CASE -> PNG of its worst slice.
    """
    known = {metric: cards.get(metric, About()) for metric in scores.summary}
    return render(
        "reports/scores.html",
        title=title,
        written=time.strftime("Written %Y-%m-%d %H:%M UTC", time.gmtime()),
        scores=scores,
        cards=known,
        tally=[
            ("good", len(scores.cases), f"case{'s' * (len(scores.cases) != 1)} scored"),
            ("", len(set(scores.groups.values())), "patients"),
            ("bad", len(scores.failed), "failed"),
            ("look", len(scores.unmatched), "predictions without a reference"),
        ],
        plots={metric: _plot(metric, scores, card) for metric, card in known.items()},
        reliability=reliability_plot(scores.calibration),
        means={case: [_mean(found, metric) for metric in scores.summary] for case, found in scores.cases.items()},
        pictures={case: b64encode(png).decode("ascii") for case, png in pictures.items()},
        **{"coloured": coloured, "number": _number, "interval": _interval, "plain": _plain},
        **{"MEAN": MEAN, "POOLED": POOLED, "SHOWN": SHOWN, "AGES": AGES, "FEW": FEW},
    )


def _plot(metric: str, scores: Scores, card: About) -> str:
    rows = {
        structure: {case: found.get(metric, {}).get(structure, math.nan) for case, found in scores.cases.items()}
        for structure in scores.summary[metric]
        if structure != MEAN
    }
    share = card.higher_is_better and not card.unit
    return box_plot(rows, (0.0, 1.0) if share else None, card.unit)


def _mean(found: CaseScores, metric: str) -> float:
    return found.get(metric, {}).get(MEAN, math.nan)


def _plain(value: float) -> str:
    return str(value) if math.isfinite(value) else ""


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _interval(ends: Sequence[Any] | None) -> str:
    low, high = ends or (None, None)
    return "–" if _number(low) == "–" else f"{_number(low)} to {_number(high)}"
