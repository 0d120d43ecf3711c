"""The page of an evaluation as HTML; all that comes from files is escaped."""

from __future__ import annotations

import math
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..scoring.bootstrap import POOLED
from ..scoring.metric import MetricSpec
from ..scoring.pair import Counts
from ..scoring.pairs import MEAN
from ..scoring.scores import CaseScores, Scores
from ..scoring.subgroups import AGES, FEW
from .drawing import Picture
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
    cards = {
        spec.name: About(spec.summary, scores.unit(spec.unit), spec.higher_is_better)
        for _, spec in catalogue.of("metric")
        if isinstance(spec, MetricSpec)
    }
    named = {metric: str(scores.metrics.get(metric, {}).get("use", metric)) for metric in scores.summary}
    return {metric: cards.get(name, About()) for metric, name in named.items()}


def worst_cases(scores: Scores, cards: Mapping[str, About]) -> list[str]:
    """The cases that are worst by the mean over structures of the first metric, worst first; none in which nothing is
    wrong.

    A case in which a structure was missed comes first: its mean may be undefined, and is no better for it.

    Args:
        cards: METRIC -> what its card says, such as which direction is better.
    """
    metric = next(iter(scores.summary), None)
    if metric is None:
        return []
    higher = cards.get(metric, About()).higher_is_better
    values = {case: _mean(found, metric) for case, found in scores.cases.items()}
    ranked = [
        (math.isfinite(value), value if higher else -value, case)
        for case, value in values.items()
        if _is_wrong(scores.counts.get(case), value, 1.0 if higher else 0.0)
    ]
    return [case for *_, case in sorted(ranked)[:WORST]]


def _is_wrong(counts: Mapping[str, Counts] | None, value: float, best: float) -> bool:
    """Whether any voxel of a case is wrong, and its value says how much or that a structure was not found at all.

    Where nobody counted voxels, it is wrong where its value is not the best there is.
    """
    if not counts:
        return math.isfinite(value) and value != best
    missed = any(count.referred and not count.predicted for count in counts.values())
    return (math.isfinite(value) or missed) and any(count.fp or count.fn for count in counts.values())


def page(
    scores: Scores,
    cards: Mapping[str, About],
    title: str,
    pictures: Mapping[str, Picture],
    members: Sequence[Sequence[str]] = (),
) -> str:
    """The page as HTML.

    Args:
        pictures: CASE -> its worst slice.
        members: A table of the runs that were put together, its head first.
    """
    known = {metric: cards.get(metric, About()) for metric in scores.summary}
    titles = {metric: titled(metric, card) for metric, card in known.items()}
    return render(
        "reports/scores.html",
        title=title,
        written=time.strftime("Written %Y-%m-%d %H:%M UTC", time.gmtime()),
        scores=scores,
        cards=known,
        titles=titles,
        members=members,
        tally=_tally(scores),
        plots={metric: _plot(metric, scores, card) for metric, card in known.items()},
        reliability=reliability_plot(scores.calibration),
        means={
            case: [_behind(found, metric, scores.regions) for metric in titles] for case, found in scores.cases.items()
        },
        pictures={case: _inline(picture) for case, picture in pictures.items()},
        worst={case: _results(scores.cases.get(case, {})) for case in pictures},
        **{"coloured": coloured, "number": _number, "interval": _interval, "plain": _plain, "defined": _defined},
        **{"MEAN": MEAN, "POOLED": POOLED, "SHOWN": SHOWN, "AGES": AGES, "FEW": FEW},
    )


def titled(metric: str, card: About) -> str:
    """A metric with its unit."""
    return f"{metric} ({card.unit})" if card.unit else metric


def _tally(scores: Scores) -> list[tuple[str, int, str]]:
    patients, unmatched = len(set(scores.groups.values())), len(scores.unmatched)
    return [
        ("good", len(scores.cases), f"case{'s' * (len(scores.cases) != 1)} scored"),
        ("", patients, f"patient{'s' * (patients != 1)}"),
        ("bad", len(scores.failed), "failed"),
        ("look", unmatched, f"prediction{'s' * (unmatched != 1)} without a reference"),
    ]


def _behind(found: CaseScores, metric: str, regions: Sequence[str]) -> tuple[float, int, int]:
    """The mean of a case, over how many of how many structures."""
    values = [value for name, value in found.get(metric, {}).items() if name != MEAN and name not in regions]
    return _mean(found, metric), sum(map(math.isfinite, values)), len(values)


def _inline(picture: Picture) -> dict[str, str]:
    """A picture as addresses that hold it."""
    drawn, plain = (b64encode(data).decode("ascii") for data in (picture.drawn, picture.plain))
    address = "data:image/jpeg;base64,"
    return {"drawn": address + drawn, "plain": address + plain, "caption": picture.caption}


def _results(found: CaseScores) -> list[str]:
    """The first means of a case in words."""
    means = {metric: _mean(found, metric) for metric in list(found)[:4]}
    return [f"{metric} {_number(mean) if math.isfinite(mean) else 'undefined'}" for metric, mean in means.items()]


def _plot(metric: str, scores: Scores, card: About) -> str:
    rows = {
        structure: {case: found.get(metric, {}).get(structure, math.nan) for case, found in scores.cases.items()}
        for structure in scores.summary[metric]
        if structure != MEAN
    }
    share = card.higher_is_better and not card.unit
    return box_plot(rows, (0.0, 1.0) if share else None, titled(metric, card))


def _mean(found: CaseScores, metric: str) -> float:
    return found.get(metric, {}).get(MEAN, math.nan)


def _defined(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _plain(value: Any) -> str:
    """For sorting: nothing where there is no value."""
    return str(value) if _defined(value) else ""


def _number(value: Any) -> str:
    if not _defined(value):
        return "–"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _interval(ends: Sequence[Any] | None) -> str:
    low, high = ends or (None, None)
    return "–" if _number(low) == "–" else f"{_number(low)} to {_number(high)}"
