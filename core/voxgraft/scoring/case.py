"""Score one case: every metric for every structure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BrokenPlugin, DataError, VoxGraftError
from .masks import CaseMasks, check_grids
from .metric import CalibrationMetric
from .pair import Counts, MaskPair
from .pairs import Regions, Structure, structures_of

if TYPE_CHECKING:
    from ..components.choice import Selected
    from ..imaging.structures import Labels
    from ..imaging.volume import Volume
    from .calibration import Binning, Reliability, Watch
    from .metric import Metric


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of one case.

    Attributes:
        values: METRIC -> structure -> value, NaN where it is not defined.
        counts: Structure -> its voxel counts.
        reliability: Structure -> how its probabilities fell into bins, where a metric looked at them.
        sized: It is known how large a voxel is; otherwise distances are in voxels.
    """

    values: dict[str, dict[str, float]]
    counts: dict[str, Counts] = field(default_factory=dict)
    reliability: dict[str, Reliability] = field(default_factory=dict)
    sized: bool = True


def score_case(
    prediction: Volume,
    reference: Volume,
    labels: Labels,
    metrics: Sequence[Selected[Metric]],
) -> dict[str, dict[str, float]]:
    """Compare a mask with its reference: METRIC -> structure -> value, NaN where it is not defined.

    Args:
        prediction, reference: Masks (i, j[, k]) or one channel for each region, on one grid.

    Raises:
        DataError: As `measure_case`.

    Examples:
        >>> from voxgraft.components.choice import choose
        >>> from voxgraft.imaging.structures import Labels
        >>> reference = vg.Volume(np.zeros((8, 8, 8), np.uint8), np.eye(4))
        >>> reference.array[2:4, 2:4, 2:4] = 1
        >>> prediction = reference.with_array(np.roll(reference.array, 1, axis=0))
        >>> dice = choose(vg.catalogue(), "metric", {"use": "dice"})
        >>> score_case(prediction, reference, Labels.of({"lesion": 1}), [dice])["dice"]["lesion"]
        0.5
    """
    return measure_case(prediction, reference, labels, metrics).values


def measure_case(
    prediction: Volume,
    reference: Volume,
    labels: Labels,
    metrics: Sequence[Selected[Metric]],
    regions: Regions | None = None,
    watch: Watch | None = None,
) -> Measured:
    """Compare a mask with its reference.

    Args:
        prediction: A label map (i, j[, k]), or 0 and 1 of shape (structure, i, j[, k]) where structures overlap: a
            channel for each structure, or for each region where `labels.regions` says what the network finds.
        reference: The same, as `voxgraft.labels.masks.read_mask` gives it. Voxels of the value `labels.ignored` are
            outside every mask and count nowhere.
        regions: Unions that are scored beside the structures.
        watch: What saw the probabilities of the prediction (`watch_case`).

    Raises:
        DataError: The grids differ, a mask holds fractions or a value that `labels` does not name, or a structure has
            a name that two structures have or that is kept for their mean.
        BrokenPlugin: A metric failed.
    """
    structures = scored_structures(labels, regions)
    check_grids(prediction, reference)
    masks = CaseMasks(prediction, reference, labels)
    pairs = [(structure.name, masks.pair(structure, watch)) for structure in structures if masks.has(structure)]
    values = score_pairs(pairs, metrics)
    seen = {}
    if watch is not None:
        for how in binnings(metrics)[:1]:
            reliabilities = {name: watch.reliability(name, how) for name, _ in pairs}
            seen = {name: reliability for name, reliability in reliabilities.items() if reliability is not None}
    sized = prediction.sized and reference.sized
    return Measured(values, {name: pair.counts for name, pair in pairs}, seen, sized)


def watch_case(
    reference: Volume, labels: Labels, metrics: Sequence[Selected[Metric]], regions: Regions | None = None
) -> Watch | None:
    """What has to see the probabilities of a prediction before `measure_case`; None where no metric asks for them.

    Args:
        reference: The reference mask, (i, j[, k]) or one channel for each region.
    """
    how = binnings(metrics)
    if not how:
        return None
    masks = CaseMasks(reference, reference, replace(labels, regions=(), paint=()))
    from .calibration import Watch

    scored = scored_structures(labels, regions)
    return Watch(masks.truth, reference.shape, reference.spacing, scored, how, masks.ignored)


def scored_structures(labels: Labels, regions: Regions | None = None) -> tuple[Structure, ...]:
    """What is scored: the regions that the network finds, or else the structures; then the regions asked for.

    Raises:
        DataError: There is no structure, a name appears twice, or one is the name of their mean.
    """
    if not labels.regions:
        return structures_of(labels, regions)
    regions_asked = structures_of(labels, regions)[len(labels.items) :]
    of_labels = tuple(Structure(region.name, region.members) for region in labels.regions)
    if both := {structure.name for structure in regions_asked} & {structure.name for structure in of_labels}:
        raise DataError(f"two regions are called {min(both)!r}; rename one")
    return (*of_labels, *regions_asked)


def binnings(metrics: Sequence[Selected[Metric]]) -> list[Binning]:
    """How the metrics that look at probabilities want them gathered, each way once."""
    built = (chosen.build() for chosen in metrics)
    return list(dict.fromkeys(metric.binning for metric in built if isinstance(metric, CalibrationMetric)))


def score_absent(
    voxels: int, spacing: tuple[float, ...], names: Sequence[str], metrics: Sequence[Selected[Metric]]
) -> dict[str, dict[str, float]]:
    """What `score_case` gives for structures that are in neither mask of a case.

    Args:
        spacing: Millimetres along i, j[, k].
    """
    nothing = np.zeros((2,) * len(spacing), np.bool_)
    pair = MaskPair(Counts(0, 0, 0, voxels), spacing, lambda: (nothing, nothing.copy()))
    return score_pairs([(name, pair) for name in names], metrics)


def score_pairs(
    pairs: Iterable[tuple[str, MaskPair]], metrics: Sequence[Selected[Metric]]
) -> dict[str, dict[str, float]]:
    """Apply metrics to structures, one structure after the other."""
    built = {name: (chosen, chosen.build()) for name, chosen in named_metrics(metrics).items()}
    scores: dict[str, dict[str, float]] = {name: {} for name in built}
    for structure, pair in pairs:
        for name, (chosen, metric) in built.items():
            scores[name][structure] = value_of(chosen, metric, pair)
    return scores


def named_metrics(metrics: Sequence[Selected[Metric]]) -> dict[str, Selected[Metric]]:
    """Metrics by the names under which their scores stand.

    That is the metric's own name. A second one of that name is told apart by those of its options that are not the
    usual ones: `nsd` and `nsd_tolerance_2.0`.

    Raises:
        DataError: A metric appears twice with the same options.
    """
    named: dict[str, Selected[Metric]] = {}
    for chosen in metrics:
        name = chosen.name
        if name in named:
            name = "_".join([name, *(f"{key}_{value}" for key, value in _unusual(chosen).items())])
        if name in named or chosen.document() in [other.document() for other in named.values()]:
            raise DataError(f"the metric {chosen.name!r} appears twice with the same options; leave one out")
        named[name] = chosen
    return named


def value_of(chosen: Selected[Metric], metric: Metric, pair: MaskPair) -> float:
    """What a metric says of a structure; NaN for what is not a finite number.

    Args:
        chosen: The metric as it was selected; names it and its plugin in the error.
    """
    try:
        value = float(metric(pair))
    except (VoxGraftError, MemoryError):
        raise
    except Exception as error:
        raise BrokenPlugin(chosen.plugin, f"computing the metric {chosen.name!r}", error) from error
    return value if math.isfinite(value) else math.nan


def _unusual(chosen: Selected[Metric]) -> dict[str, Any]:
    options = chosen.options.model_dump(mode="json")
    usual = {key: info.get_default() for key, info in type(chosen.options).model_fields.items()}
    return {key: value for key, value in options.items() if value != usual.get(key)} or options
