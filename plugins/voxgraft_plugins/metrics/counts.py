"""Metrics of voxel counts, for 2D and 3D images; the rules for empty masks are in `scoring.pair`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voxgraft.plugin import MaskPair, Metric, Options

    from .options import FBetaOptions, RelativeVolumeOptions


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


def of_counts(_: Options, name: str) -> Metric:
    """The metric of this name, which has no options."""
    return METRICS[name]


METRICS: Mapping[str, Metric] = {
    "dice": dice,
    "iou": iou,
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "volume-difference": volume_difference,
}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
