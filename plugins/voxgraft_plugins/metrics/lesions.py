"""Metrics of lesions: how many of the connected parts of a structure were found, and how many that were found exist."""

from __future__ import annotations

import math

from voxgraft.plugin import MaskPair

from .options import LesionOptions


class LesionMetric:
    """Precision, recall or F1 over lesions; the rules of matching are in `voxgraft.scoring.lesions`.

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
