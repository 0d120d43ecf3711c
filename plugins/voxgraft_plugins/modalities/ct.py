"""CT: one scale for all images, from the labelled structures of the training cases.

Hounsfield units mean the same on every scanner, so every image is clipped and scaled by the same numbers (the scheme
of nnU-Net: Isensee et al., Nature Methods 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .options import CtOptions
from .voxels import Floats, number, standardise

AIR = -1024.0
AUGMENTATION = {
    "rotation": 15.0,
    "scale": 0.2,
    "shift": 0.1,
    "elastic": 1.0,
    "gamma": 0.2,
    "noise": 0.1,
    "brightness": 0.1,
    "contrast": 0.15,
    "blur": 1.0,
    "lowres": 0.4,
    "mirror": 0.0,
}


class CtModality:
    """Clip to percentiles of the foreground, then subtract its mean and divide by its deviation."""

    voxelwise = True

    def __init__(self, options: CtOptions) -> None:
        self._options = options
        self.augmentation: Mapping[str, float] = options.strengths(AUGMENTATION)

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        return [self._numbers(measured) for measured in intensities]

    def _numbers(self, measured: Mapping[str, float]) -> dict[str, float]:
        low, high = number(measured, "p00_5", AIR), number(measured, "p99_5", 3071.0)
        if self._options.clip is not None:
            low, high = self._options.clip
        if not low < high:
            low, high = number(measured, "min", AIR), number(measured, "max", 3071.0)
        deviation = number(measured, "std", 1.0)
        return {
            "low": low,
            "high": max(high, low + 1.0),
            "mean": number(measured, "mean", 0.0),
            "std": deviation if deviation > 1e-3 else 1.0,
        }

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> Floats:
        """Normalise (channel, *spatial); NaN counts as the lowest intensity that is kept."""
        result = np.empty_like(array, dtype=np.float32)
        for channel, numbers, target in zip(array, params, result, strict=True):
            low, high = numbers["low"], numbers["high"]
            with np.errstate(over="ignore"):
                target[...] = channel
            if channel.dtype.kind not in "iub":
                np.nan_to_num(target, copy=False, nan=low, posinf=high, neginf=low)
            np.clip(target, low, high, out=target)
            standardise(target, numbers["mean"], numbers["std"])
        return result

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        return self._options.window
