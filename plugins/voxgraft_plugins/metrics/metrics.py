"""Metrics: of voxel counts, of lesions, of probabilities, and of surfaces in millimetres (see docs/metrics.md).

The rules for empty masks are in `scoring.pair`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from pydantic import AllowInfNan

from voxgraft.plugin import MaskPair, Options, SurfaceDistances

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voxgraft.plugin import Metric


Millimetres = Annotated[float, Ge(0), AllowInfNan(False)]


class CountOptions(Options):
    """Metrics of voxel counts have no options."""


class FBetaOptions(Options):
    """Options of f-beta."""

    beta: Annotated[float, Gt(0), Le(100), AllowInfNan(False)] = 1.0
    """How many times as much recall counts as precision; 1 gives Dice."""


class RelativeVolumeOptions(Options):
    """Options of relative-volume-difference."""

    signed: bool = False
    """Keep the sign: above 0 the prediction is larger. Means of signed values show bias, not error."""


class DistanceOptions(Options):
    """Options of distances between surfaces, which are in millimetres by the spacing of the scan."""

    surface: Literal["voxel", "area"] = "voxel"
    """What a surface is made of: the mask's border voxels, each counted alike, or elements at the corners between
    voxels, weighted by their area, as in the package surface-distance."""


class PercentileOptions(DistanceOptions):
    """Options of hd95."""

    pooled: bool = False
    """Take the percentile of the distances of both directions together (MedPy), not the larger of two (MONAI)."""


class AverageOptions(DistanceOptions):
    """Options of assd."""

    pooled: bool = True
    """Average over both surfaces together (MONAI, MedPy), not over the averages of the two directions."""


class SurfaceDiceOptions(DistanceOptions):
    """Options of nsd."""

    tolerance: Millimetres = 1.0
    """Millimetres by which two surfaces may differ and still agree; a good choice is the distance by which readers
    differ."""


class LesionOptions(Options):
    """Options of the metrics of lesions, which are the connected parts of a structure."""

    connectivity: Literal[4, 6, 8, 18, 26] = 26
    """Neighbours that count as connected: 6 (faces), 18 (and edges), 26 (and corners); in 2D images 4 or 8."""

    smallest: Millimetres = 0.0
    """Smallest lesion in cubic millimetres (square millimetres in 2D); smaller ones are removed from both masks
    first."""

    iou: Annotated[float, Ge(0), Le(1), AllowInfNan(False)] = 0.0
    """0: any shared voxel is a match. Above 0: lesions are matched one to one where their IoU is at least this."""


class CalibrationOptions(Options):
    """Options of ece."""

    bins: Annotated[int, Ge(2), Le(1000)] = 15
    """Bins of equal width from 0 to 1."""

    margin: Millimetres | None = 10.0
    """Millimetres around the structure's box in the reference within which voxels count; null: the whole image."""


def dice(pair: MaskPair) -> float:
    """2 TP / (2 TP + FP + FN)."""
    counts = pair.counts
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def iou(pair: MaskPair) -> float:
    """TP / (TP + FP + FN), the Jaccard index."""
    counts = pair.counts
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def accuracy(pair: MaskPair) -> float:
    """(TP + TN) / all voxels; near 1 for every small structure, whatever was found."""
    counts = pair.counts
    return _ratio(counts.tp + counts.tn, counts.tp + counts.tn + counts.fp + counts.fn)


def precision(pair: MaskPair) -> float:
    """TP / (TP + FP), the positive predictive value."""
    return _ratio(pair.counts.tp, pair.counts.predicted)


def recall(pair: MaskPair) -> float:
    """TP / (TP + FN), the sensitivity."""
    return _ratio(pair.counts.tp, pair.counts.referred)


def specificity(pair: MaskPair) -> float:
    """TN / (TN + FP)."""
    return _ratio(pair.counts.tn, pair.counts.tn + pair.counts.fp)


def volume_difference(pair: MaskPair) -> float:
    """Millilitres by which the volumes differ, without the sign; NaN for 2D images, which have areas."""
    if len(pair.spacing) != 3:
        return math.nan
    return abs(pair.counts.predicted - pair.counts.referred) * math.prod(pair.spacing) / 1000.0


class FBeta:
    """(1 + b2) TP / ((1 + b2) TP + b2 FN + FP), van Rijsbergen's F measure; b2 is the square of beta."""

    def __init__(self, options: FBetaOptions) -> None:
        self.square = options.beta**2

    def __call__(self, pair: MaskPair) -> float:
        counts = pair.counts
        right = (1 + self.square) * counts.tp
        return _ratio(right, right + self.square * counts.fn + counts.fp)


class RelativeVolumeDifference:
    """By what part of the reference's volume (in 2D images: area) the prediction is larger or smaller."""

    def __init__(self, options: RelativeVolumeOptions) -> None:
        self.signed = options.signed

    def __call__(self, pair: MaskPair) -> float:
        value = _ratio(pair.counts.predicted - pair.counts.referred, pair.counts.referred)
        return value if self.signed else abs(value)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


class LesionMetric:
    """Precision, recall or F1 over lesions; the rules of matching are in `voxgraft.scoring.pair`.

    F1 is the harmonic mean of precision and recall, 0 where only one of the masks holds lesions.
    """

    def __init__(self, options: LesionOptions, name: str) -> None:
        self.options, self.name = options, name

    def __call__(self, pair: MaskPair) -> float:
        if not pair.counts.predicted and not pair.counts.referred:
            return math.nan
        lesions = pair.lesions(self.options.connectivity, self.options.smallest)
        right, hits = lesions.hits(self.options.iou)
        predicted, referred = len(lesions.predicted), len(lesions.referred)
        if self.name == "lesion-precision":
            return right / predicted if predicted else math.nan
        if self.name == "lesion-recall":
            return hits / referred if referred else math.nan
        if not predicted or not referred:
            return 0.0 if predicted or referred else math.nan
        precision, recall = right / predicted, hits / referred
        return 2 * precision * recall / (precision + recall) if right else 0.0


class CalibrationError:
    """The expected calibration error of a structure against the rest (Naeini et al., AAAI 2015), over voxels.

    NaN where the prediction came without probabilities, or the reference does not have the structure.
    """

    def __init__(self, options: CalibrationOptions) -> None:
        from voxgraft.plugin import Binning

        self.binning = Binning(options.bins, options.margin)

    def __call__(self, pair: MaskPair) -> float:
        error = None if pair.calibrated is None else pair.calibrated(self.binning)
        return math.nan if error is None else error.ece


ROUNDING = 1e-4
"""Millimetres that distances may be too long by rounding; no tolerance is meant more exactly."""

Part = tuple[NDArray[np.float64], NDArray[np.float64] | None]
"""Distances, and the area of the element at each."""


class Hausdorff:
    """The longest way from one surface to the other, or the 95th percentile of the ways.

    A percentile is the larger one of the two directions, as MONAI has it, or that of both directions together
    (`pooled`), as MedPy has it. By area it is the smallest distance within which that share of the area lies, as the
    package surface-distance has it.
    """

    def __init__(self, options: DistanceOptions | PercentileOptions, percentile: float) -> None:
        self.surface, self.percentile = options.surface, percentile
        self.pooled = isinstance(options, PercentileOptions) and options.pooled

    def __call__(self, pair: MaskPair) -> float:
        surfaces = _surfaces(pair, self.surface)
        if surfaces is None:
            return math.nan
        parts = [_both(surfaces)] if self.pooled else _directions(surfaces)
        return max(_percentile(part, self.percentile) for part in parts)


class AverageDistance:
    """The average symmetric surface distance: the mean over both surfaces, or of the means of the two directions."""

    def __init__(self, options: AverageOptions) -> None:
        self.surface, self.pooled = options.surface, options.pooled

    def __call__(self, pair: MaskPair) -> float:
        surfaces = _surfaces(pair, self.surface)
        if surfaces is None:
            return math.nan
        parts = [_both(surfaces)] if self.pooled else _directions(surfaces)
        return float(np.mean([np.average(distances, weights=sizes) for distances, sizes in parts]))


class SurfaceDice:
    """The part of both surfaces that is no further than a tolerance from the other surface.

    The normalised surface Dice of Nikolov et al. (arXiv 1809.04430), with surfaces counted in voxels, or by area.
    """

    def __init__(self, options: SurfaceDiceOptions) -> None:
        self.surface, self.tolerance = options.surface, options.tolerance

    def __call__(self, pair: MaskPair) -> float:
        surfaces = _surfaces(pair, self.surface)
        if surfaces is None:
            return 0.0 if pair.counts.predicted or pair.counts.referred else math.nan
        distances, sizes = _both(surfaces)
        return float(np.average(distances <= self.tolerance + ROUNDING, weights=sizes))


def _surfaces(pair: MaskPair, kind: str) -> SurfaceDistances | None:
    return pair.areas if kind == "area" else pair.surfaces


def _directions(surfaces: SurfaceDistances) -> list[Part]:
    return [(surfaces.prediction, surfaces.prediction_sizes), (surfaces.reference, surfaces.reference_sizes)]


def _both(surfaces: SurfaceDistances) -> Part:
    sizes = None
    if surfaces.prediction_sizes is not None and surfaces.reference_sizes is not None:
        sizes = np.concatenate([surfaces.prediction_sizes, surfaces.reference_sizes])
    return np.concatenate([surfaces.prediction, surfaces.reference]), sizes


def _percentile(part: Part, percentile: float) -> float:
    distances, sizes = part
    if sizes is None or percentile == 100.0:
        return float(np.percentile(distances, percentile))
    order = np.argsort(distances, kind="stable")
    shares = np.cumsum(sizes[order]) / sizes.sum()
    index = min(int(np.searchsorted(shares, percentile / 100.0)), len(order) - 1)
    return float(distances[order[index]])


COUNTS: Mapping[str, Metric] = {
    "dice": dice,
    "iou": iou,
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "volume-difference": volume_difference,
}
OTHERS: Mapping[str, Callable[[Any], Metric]] = {
    "f-beta": FBeta,
    "relative-volume-difference": RelativeVolumeDifference,
    "hd95": partial(Hausdorff, percentile=95.0),
    "hd": partial(Hausdorff, percentile=100.0),
    "assd": AverageDistance,
    "nsd": SurfaceDice,
    "ece": CalibrationError,
    **{name: partial(LesionMetric, name=name) for name in ("lesion-precision", "lesion-recall", "lesion-f1")},
}


def metric(options: Options, name: str) -> Metric:
    """The metric of this name; those of voxel counts have no options."""
    return COUNTS[name] if name in COUNTS else OTHERS[name](options)
