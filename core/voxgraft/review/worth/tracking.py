"""What a review has come to, in the tracker: numbers by version of the model, and nothing of any patient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...components.choice import choose
from ...errors import UsageError
from ...runs.run import TracksReviews
from ..state.records import ADJUDICATOR
from .charts import version_of
from .comparing import Comparisons
from .facts import facts_of
from .snapshot import Snapshot
from .summary import alarms_of, summary_and_charts, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .facts import Fact


def track(snapshot: Snapshot, tracker: str = "mlflow") -> list[str]:
    """Keep the numbers of each version of a model that was reviewed; where they are, a line for each.

    Args:
        snapshot: The batch and what people decided about it.
        tracker: The name of the tracker.

    Raises:
        UsageError: There is no such tracker, or it keeps no reviews.
        TrackingError: Nothing answers, or it refuses.
    """
    snapshot.catalogue.get("tracker", tracker)
    built = choose(snapshot.catalogue, "tracker", {"use": tracker}).build()
    if not isinstance(built, TracksReviews):
        raise UsageError(f"the tracker {tracker!r} keeps no reviews; use mlflow")
    tolerance = tolerance_of(snapshot)
    comparisons = Comparisons(snapshot, tolerance)
    facts = [fact for fact in facts_of(snapshot, comparisons) if fact.role != ADJUDICATOR]
    _, charts = summary_and_charts(snapshot, tolerance)
    alarms = alarms_of(charts)
    lines = []
    for identity in dict.fromkeys(fact.model_hash for fact in facts):
        own = [fact for fact in facts if fact.model_hash == identity]
        metrics = dict(_numbers(own, alarms, version_of(own[0])))
        scans = len({fact.case for fact in own})
        lines.append(f"{version_of(own[0])}: {built.review(version_of(own[0]), identity, metrics, scans)}")
    return lines


def _numbers(facts: Sequence[Fact], alarms: Sequence[Mapping[str, Any]], version: str) -> Iterator[tuple[str, float]]:
    """Names and values; those that are not defined are left out."""
    yield "review.scans", float(len({fact.case for fact in facts}))
    yield "review.share_accepted", sum(fact.kept for fact in facts) / len(facts)
    yield "review.seconds", math.fsum(fact.seconds for fact in facts) / len({(one.case, one.reader) for one in facts})
    concern = [alarm for alarm in alarms if alarm["by"] == "structure" or alarm["group"] == version]
    yield "review.alarms", float(sum(bool(alarm["worse"]) for alarm in concern))
    for structure in dict.fromkeys(fact.structure for fact in facts):
        own = [fact for fact in facts if fact.structure == structure]
        yield f"review.share_accepted.{structure}", sum(fact.kept for fact in own) / len(own)
        for name in ("dice", "surface_dice"):
            values = [value for fact in own if (value := getattr(fact, name)) is not None]
            if values:
                yield f"review.{name}.{structure}", math.fsum(values) / len(values)
