"""What papers on retinal vessels report. The engine counts no pixel outside the field of view."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from voxgraft.plugin import Binning, MaskPair, Metric, Options

BINS = 1000
"""Steps of the probability in which the curve is drawn; against the exact area that makes less than 0.001."""


def f1(pair: MaskPair) -> float:
    """2 TP / (2 TP + FP + FN), which is the Dice overlap; NaN where both masks are empty."""
    counts = pair.counts
    whole = 2 * counts.tp + counts.fp + counts.fn
    return 2 * counts.tp / whole if whole else math.nan


def sensitivity(pair: MaskPair) -> float:
    """TP / (TP + FN), which is recall; NaN where the reference is empty."""
    return pair.counts.tp / pair.counts.referred if pair.counts.referred else math.nan


class AreaUnderCurve:
    """The area under the ROC curve over the pixels of a case, by trapezoids over bins of the probability.

    NaN where there are no probabilities, or the reference has no such pixel or no other.
    """

    binning = Binning(BINS, margin=None)

    def __call__(self, pair: MaskPair) -> float:
        found = None if pair.calibrated is None else pair.calibrated(self.binning)
        if found is None:
            return math.nan
        true, rest = (np.cumsum(part[::-1], dtype=float) for part in (found.true, found.voxels - found.true))
        if not true[-1] or not rest[-1]:
            return math.nan
        return float(np.trapezoid(np.r_[0, true] / true[-1], np.r_[0, rest] / rest[-1]))


METRICS: Mapping[str, Metric] = {"f1": f1, "sensitivity": sensitivity, "auc": AreaUnderCurve()}


def metric(options: Options, name: str) -> Metric:
    """The metric of that name, which has no options."""
    return METRICS[name]
