"""Score one case: every metric for every structure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BrokenPlugin, DataError, VoxGraftError
from .confusion import confusion
from .crops import Crops
from .masks import check_grids, label_array
from .pair import Counts, MaskPair

if TYPE_CHECKING:
    from ..data.cases import Labels
    from ..interfaces import Metric
    from ..slot import Chosen
    from ..volume import Volume

MEAN = "mean"
"""The name under which the average over a case's defined structures stands beside them."""


def score_case(
    prediction: Volume, reference: Volume, labels: Labels, metrics: Sequence[Chosen[Metric]]
) -> dict[str, dict[str, float]]:
    """Compare a mask with its reference: METRIC -> structure -> value, NaN where it is not defined.

    Raises:
        DataError: The grids differ, a mask holds fractions or a value that `labels` does not name, or a structure has
            a name that two structures have or that is kept for their mean.
        BrokenPlugin: A metric failed.
    """
    check_names(labels)
    check_grids(prediction, reference)
    found, wanted = label_array(prediction, "prediction"), label_array(reference, "reference")
    counts = confusion(found, wanted, labels.values)
    crops = Crops(found, wanted, labels.values)
    return score_pairs(
        (
            (label.name, MaskPair(counts[label.value], reference.spacing, partial(crops.masks, label.value)))
            for label in labels.items
        ),
        metrics,
    )


def score_absent(
    voxels: int, spacing: tuple[float, ...], names: Sequence[str], metrics: Sequence[Chosen[Metric]]
) -> dict[str, dict[str, float]]:
    """What `score_case` gives for structures that are in neither mask of a case."""
    nothing = np.zeros((2,) * len(spacing), np.bool_)
    pair = MaskPair(Counts(0, 0, 0, voxels), spacing, lambda: (nothing, nothing.copy()))
    return score_pairs([(name, pair) for name in names], metrics)


def score_pairs(
    pairs: Iterator[tuple[str, MaskPair]] | Sequence[tuple[str, MaskPair]], metrics: Sequence[Chosen[Metric]]
) -> dict[str, dict[str, float]]:
    """Apply metrics to structures, one structure after the other: only one keeps its distances in memory."""
    built = {name: (chosen, chosen.build()) for name, chosen in named_metrics(metrics).items()}
    scores: dict[str, dict[str, float]] = {name: {} for name in built}
    for structure, pair in pairs:
        for name, (chosen, metric) in built.items():
            scores[name][structure] = _value(chosen, metric, pair)
    return scores


def named_metrics(metrics: Sequence[Chosen[Metric]]) -> dict[str, Chosen[Metric]]:
    """Metrics by the names under which their scores stand.

    That is the metric's own name. A second one of that name, with other options, is told apart by them: `nsd` and
    `nsd_tolerance_2.0`.

    Raises:
        DataError: A metric stands twice with the same options.
    """
    named: dict[str, Chosen[Metric]] = {}
    for chosen in metrics:
        name = chosen.name
        if name in named:
            options = chosen.options.model_dump(mode="json")
            name = "_".join([name, *(f"{key}_{value}" for key, value in options.items())])
        if name in named or chosen.document() in [other.document() for other in named.values()]:
            raise DataError(f"the metric {chosen.name!r} stands twice with the same options; leave one out")
        named[name] = chosen
    return named


def check_names(labels: Labels) -> None:
    """Refuse names of structures under which scores could not be told apart.

    Raises:
        DataError: There is no structure, a name stands twice, or one is the name of their mean.
    """
    if not labels.items:
        raise DataError("there is no structure to score: the masks hold background only, or no structure is named")
    for name in labels.names:
        if name == MEAN:
            raise DataError(f"a structure is called {MEAN!r}, which is kept for the mean over structures; rename it")
        if labels.names.count(name) > 1:
            raise DataError(f"two structures are called {name!r}; rename one")


def _value(chosen: Chosen[Metric], metric: Metric, pair: MaskPair) -> float:
    try:
        value = float(metric(pair))
    except (VoxGraftError, MemoryError):
        raise
    except Exception as error:
        raise BrokenPlugin(chosen.plugin, f"computing the metric {chosen.name!r}", error) from error
    return value if math.isfinite(value) else math.nan
