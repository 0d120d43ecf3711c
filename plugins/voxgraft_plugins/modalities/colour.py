"""Colour photographs, for networks that saw ImageNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .options import RgbOptions
from .voxels import Floats, number

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY = (0.449, 0.226)
"""Mean and deviation of what is no colour: a single channel, or a fourth one."""

WHITES = (1.0, 255.0, 65535.0)
AUGMENTATION = {
    "rotation": 30.0,
    "scale": 0.2,
    "shift": 0.1,
    "elastic": 2.0,
    "gamma": 0.3,
    "noise": 0.1,
    "brightness": 0.3,
    "contrast": 0.3,
    "blur": 1.0,
    "lowres": 0.4,
    "mirror": 0.0,
}


class RgbModality:
    """Brightness to 0..1, then ImageNet's mean and deviation of each colour."""

    voxelwise = True

    def __init__(self, options: RgbOptions) -> None:
        self._options = options
        self.augmentation: Mapping[str, float] = options.strengths(AUGMENTATION)

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        brightest = max((number(measured, "max", 0.0) for measured in intensities), default=0.0)
        white = self._options.white or next((white for white in WHITES if brightest <= white), WHITES[-1])
        colours = list(zip(MEAN, DEVIATION, strict=True)) if len(intensities) >= 3 else []
        colours += [GREY] * (len(intensities) - len(colours))
        return [{"white": white, "mean": mean, "std": deviation} for mean, deviation in colours]

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> Floats:
        """Normalise (colour, *spatial); what is no number counts as black, what is brighter than white as white."""
        result = np.empty_like(array, dtype=np.float32)
        for channel, numbers, target in zip(array, params, result, strict=True):
            with np.errstate(over="ignore"):
                target[...] = channel
            np.nan_to_num(target, copy=False, nan=0.0)
            np.clip(target, 0.0, numbers["white"], out=target)
            target /= np.float32(numbers["white"])
            target -= np.float32(numbers["mean"])
            target /= np.float32(numbers["std"])
        return result

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        if self._options.white is not None:
            return 0.0, self._options.white
        brightest = float(np.nan_to_num(np.asarray(array, dtype=np.float64), posinf=0.0).max(initial=0.0))
        return 0.0, next((white for white in WHITES if brightest <= white), WHITES[-1])
