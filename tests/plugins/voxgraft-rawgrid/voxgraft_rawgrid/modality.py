"""The modality of the laboratory's scanner: counts, normalised as logarithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .options import MicroOptions


class Micro:
    """Counts have a long tail: their logarithm is scaled to mean 0 and deviation 1 over the training cases."""

    augmentation: Mapping[str, float] = {"rotation": 10.0, "scale": 0.1}

    def __init__(self, options: MicroOptions) -> None:
        self._offset = options.offset

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        return [{"centre": float(np.log(one["p50"] + self._offset))} for one in intensities]

    def normalise(self, array: np.ndarray[Any, Any], params: Sequence[Mapping[str, float]]) -> np.ndarray[Any, Any]:
        centres = np.array([one["centre"] for one in params], np.float32).reshape(-1, *[1] * (array.ndim - 1))
        return np.log(array.astype(np.float32) + self._offset) - centres

    def window(self, array: np.ndarray[Any, Any]) -> tuple[float, float]:
        return float(array.min()), float(array.max())
