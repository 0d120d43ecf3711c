"""CT as Merlin saw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgraft.plugin import HOUNSFIELD_LEVELS, Options

LOW, HIGH = -1000.0, 1000.0


class MerlinModality:
    """Hounsfield units from -1000 to 1000 become 0 to 1, whatever the training cases hold."""

    augmentation: Mapping[str, float] = {
        "rotation": 15.0,
        "scale": 0.2,
        "shift": 0.1,
        "elastic": 1.0,
        "gamma": 0.1,
        "noise": 0.02,
        "brightness": 0.02,
        "contrast": 0.05,
    }
    """Its images have a deviation of about 0.25, not 1: so noise and brightness are smaller than elsewhere."""

    def __init__(self, options: Options) -> None:
        """It has no options."""

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        """Nothing of the training cases is needed."""
        return [{"low": LOW, "high": HIGH} for _ in intensities]

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> NDArray[np.float32]:
        """Normalise (channel, *spatial); what is not a number counts as air."""
        with np.errstate(over="ignore"):
            units = np.nan_to_num(array.astype(np.float32), nan=LOW, posinf=HIGH, neginf=LOW)
        return ((np.clip(units, LOW, HIGH) - np.float32(LOW)) / np.float32(HIGH - LOW)).astype(np.float32)

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        """Soft tissue."""
        return -160.0, 240.0

    def body_levels(self, array: NDArray[Any]) -> tuple[int, float, float]:
        """Of the first channel."""
        return 0, *HOUNSFIELD_LEVELS
