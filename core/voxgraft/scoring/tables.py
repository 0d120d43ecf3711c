"""From the scores of single cases to everything that is said of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .calibration import Reliability
from .case import Measured, named_metrics
from .micro import micro_averages
from .scores import Scores
from .subgroups import Facts, subgroups

if TYPE_CHECKING:
    from ..components.choice import Selected
    from .metric import Metric

PATIENT = "patient"
"""The column of facts that says which cases belong together; it makes no subgroups."""


def gathered(
    measured: Mapping[str, Measured],
    metrics: Sequence[Selected[Metric]],
    facts: Facts | None = None,
    patients: Mapping[str, Any] | None = None,
    regions: Sequence[str] = (),
) -> Scores:
    """Scores with their micro averages, subgroups and calibration.

    Args:
        measured: CASE -> what was measured.
        facts: CASE -> what is known of it.
        patients: The patient of each case; by default what `facts` call so, else each case is one.
        regions: Names that do not go into means over structures.
    """
    facts = facts or {}
    if patients is None:
        patients = {case: facts[case][PATIENT] for case in measured if facts.get(case, {}).get(PATIENT)}
    scores = Scores.of(
        {case: result.values for case, result in measured.items()},
        patients,
        metrics={name: metric.document() for name, metric in named_metrics(metrics).items()},
        regions=regions,
        counts={case: result.counts for case, result in measured.items()},
    )
    known = {case: {name: fact for name, fact in values.items() if name != PATIENT} for case, values in facts.items()}
    return replace(
        scores,
        micro=micro_averages(scores.counts, scores.groups, metrics, regions),
        subgroups=subgroups(scores, known),
        calibration=_pooled(measured),
    )


def _pooled(measured: Mapping[str, Measured]) -> dict[str, dict[str, list[Any]]]:
    """The bins of each structure's probabilities over all cases."""
    sums: dict[str, Reliability] = {}
    for result in measured.values():
        for name, seen in result.reliability.items():
            total = sums.setdefault(name, Reliability.nothing(len(seen.voxels)))
            for own, other in (
                (total.voxels, seen.voxels),
                (total.confidence, seen.confidence),
                (total.true, seen.true),
            ):
                np.add(own, other, out=own)
    return {name: total.document() for name, total in sums.items()}
