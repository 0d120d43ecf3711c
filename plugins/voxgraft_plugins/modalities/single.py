"""Modalities in which a number means nothing outside its own image: MR, X-ray, ultrasound and any other grey image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .options import ImageOptions, MrOptions
from .voxels import Floats, finite, percentiles, shown, spread, standardise

MR = {
    "rotation": 15.0,
    "scale": 0.2,
    "shift": 0.1,
    "elastic": 1.0,
    "gamma": 0.3,
    "noise": 0.1,
    "brightness": 0.2,
    "contrast": 0.25,
    "blur": 1.0,
    "lowres": 0.4,
    "mirror": 0.0,
}
GREY = {**MR, "rotation": 20.0, "gamma": 0.4, "contrast": 0.3, "brightness": 0.3}
STRIPPED = 1 / 3
"""The share of exact zeros above which an image counts as skull-stripped."""


class MrModality:
    """Each channel of each image to mean 0 and deviation 1.

    Of a skull-stripped image (more than a third is exactly 0) only the other voxels are measured and changed; the
    zeros stay 0.
    """

    def __init__(self, options: MrOptions) -> None:
        self._options = options
        self.augmentation: Mapping[str, float] = options.strengths(MR)

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        share = {"auto": STRIPPED, "yes": -1.0, "no": 2.0}[self._options.stripped]
        return [{"clip": float(self._options.clip), "stripped": share} for _ in intensities]

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> Floats:
        """Normalise (channel, *spatial); voxels that are no numbers count as the image's lowest."""
        result = np.empty_like(array, dtype=np.float32)
        for channel, numbers, target in zip(array, params, result, strict=True):
            target[...] = finite(channel)
            zeros = target == 0
            stripped = zeros.mean() > numbers["stripped"] and not zeros.all()
            _own_scale(target, ~zeros if stripped else None, bool(numbers["clip"]))
        return result

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        return shown(array)


class ImageModality:
    """Each channel of each image clipped to its percentiles, then to mean 0 and deviation 1.

    Scaling to 0..1 in between would change nothing: mean and deviation take it out again.
    """

    def __init__(self, options: ImageOptions) -> None:
        self._options = options
        self.augmentation: Mapping[str, float] = options.strengths(GREY)

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        return [{"clip": float(self._options.clip)} for _ in intensities]

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> Floats:
        """Normalise (channel, *spatial); voxels that are no numbers count as the image's lowest."""
        result = np.empty_like(array, dtype=np.float32)
        for channel, numbers, target in zip(array, params, result, strict=True):
            target[...] = finite(channel)
            _own_scale(target, None, bool(numbers["clip"]))
        return result

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        return shown(array)


def _own_scale(voxels: Floats, inside: NDArray[np.bool_] | None, clip: bool) -> None:
    """Normalise one channel in place by its own voxels, by those inside a mask where there is one."""
    if inside is None:
        if clip:
            low, high = percentiles(voxels)
            np.clip(voxels, low, high, out=voxels)
        standardise(voxels, *spread(voxels))
    else:
        body = voxels[inside]
        if clip:
            low, high = percentiles(body)
            np.clip(body, low, high, out=body)
        voxels[inside] = standardise(body, *spread(body))
