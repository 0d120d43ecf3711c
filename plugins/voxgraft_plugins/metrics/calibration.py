"""Whether probabilities mean what they say."""

from __future__ import annotations

import math

from voxgraft.plugin import Binning, MaskPair

from .options import CalibrationOptions


class CalibrationError:
    """The expected calibration error of a structure against the rest (Naeini et al., AAAI 2015), over voxels.

    NaN where the prediction came without probabilities, or the reference does not have the structure.
    """

    def __init__(self, options: CalibrationOptions) -> None:
        self.binning = Binning(options.bins, options.margin)

    def __call__(self, pair: MaskPair) -> float:
        error = None if pair.calibrated is None else pair.calibrated(self.binning)
        return math.nan if error is None else error.ece
