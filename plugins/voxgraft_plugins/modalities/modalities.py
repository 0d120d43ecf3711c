"""How images of a kind are normalised, augmented and shown: CT, MR, other grey images, and colour photographs.

Hounsfield units mean the same on every scanner, so every CT is clipped and scaled by the same numbers (the scheme of
nnU-Net: Isensee et al., Nature Methods 2021). In MR and most other grey images a number means nothing outside its own
image. Photographs are scaled as ImageNet's were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgraft.plugin import HOUNSFIELD_LEVELS

from .options import CtOptions, ImageOptions, MrOptions, RgbOptions

AIR = -1024.0
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
CT = {**MR, "gamma": 0.2, "brightness": 0.1, "contrast": 0.15}
GREY = {**MR, "rotation": 20.0, "gamma": 0.4, "contrast": 0.3, "brightness": 0.3}
RGB = {**MR, "rotation": 30.0, "elastic": 2.0, "brightness": 0.3, "contrast": 0.3}
"""The strengths of augmentation, by what images are."""


class CtModality:
    """Clip to percentiles of the foreground, then subtract its mean and divide by its deviation."""

    voxelwise = True

    def __init__(self, options: CtOptions) -> None:
        self._options = options
        self.augmentation: Mapping[str, float] = options.strengths(CT)

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

    def units(self, params: Sequence[Mapping[str, float]]) -> list[str]:
        return ["HU"] * len(params)

    def body_levels(self, array: NDArray[Any]) -> tuple[int, float, float]:
        """Of the first channel; unsigned numbers that nobody has shifted to Hounsfield units show no air."""
        return 0, *HOUNSFIELD_LEVELS

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        return self._options.window


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
        """Normalise (channel, *spatial); voxels that are not numbers count as the image's lowest."""
        result = np.empty_like(array, dtype=np.float32)
        for channel, numbers, target in zip(array, params, result, strict=True):
            target[...] = finite(channel)
            zeros = target == 0
            stripped = zeros.mean() > numbers["stripped"] and not zeros.all()
            _own_scale(target, ~zeros if stripped else None, bool(numbers["clip"]))
        return result

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        return shown(array)

    def body_levels(self, array: NDArray[Any]) -> tuple[int, float, float] | None:
        """Of the first channel a fifth and a half of what parts dark from bright: coils see the far ends of a body
        darkly. Of a stripped image everything that is not 0. None where voxels are negative, as scaled ones are."""
        voxels = array[0].ravel(order="K")
        voxels = finite(voxels[:: max(1, voxels.size // 250_000)])
        if (voxels == 0).mean() > STRIPPED:
            return 0, 0.0, 0.0
        if voxels.min() < 0 or voxels.min() == voxels.max():
            return None
        level = parting(voxels)
        return 0, 0.2 * level, 0.5 * level


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
        """Normalise (channel, *spatial); voxels that are not numbers count as the image's lowest."""
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


MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COLOURLESS = (0.449, 0.226)
"""Mean and deviation of what is not a colour: a single channel, or a fourth one."""

WHITES = (1.0, 255.0, 65535.0)


class RgbModality:
    """Brightness to 0..1, then ImageNet's mean and deviation of each colour."""

    voxelwise = True

    def __init__(self, options: RgbOptions) -> None:
        self._options = options
        self.augmentation: Mapping[str, float] = options.strengths(RGB)

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        brightest = max((number(measured, "max", 0.0) for measured in intensities), default=0.0)
        white = self._options.white or next((white for white in WHITES if brightest <= white), WHITES[-1])
        colours = list(zip(MEAN, DEVIATION, strict=True)) if len(intensities) >= 3 else []
        colours += [COLOURLESS] * (len(intensities) - len(colours))
        return [{"white": white, "mean": mean, "std": deviation} for mean, deviation in colours]

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> Floats:
        """Normalise (colour, *spatial); what is not a number counts as black, what is brighter than white as white."""
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


Floats = NDArray[np.float32]


def finite(channel: NDArray[Any]) -> Floats:
    """A copy of one channel in float32; NaN becomes its lowest finite voxel, infinities the lowest and the highest.

    Values too large for float32 count as infinite. A channel without a finite voxel becomes 0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        voxels = channel.astype(np.float32, copy=True)
    if channel.dtype.kind in "iub" and channel.dtype.itemsize <= 4:
        return voxels
    good = np.isfinite(voxels)
    if good.all():
        return voxels
    low, high = (float(voxels[good].min()), float(voxels[good].max())) if good.any() else (0.0, 0.0)
    return np.nan_to_num(voxels, copy=False, nan=low, posinf=high, neginf=low)


def spread(voxels: Floats) -> tuple[float, float]:
    """Mean and standard deviation in double precision; the deviation is 0 where it is only rounding."""
    if voxels.size == 0:
        return 0.0, 0.0
    mean, deviation = float(voxels.mean(dtype=np.float64)), float(voxels.std(dtype=np.float64))
    return mean, deviation if deviation > 1e-7 * abs(mean) else 0.0


def standardise(voxels: Floats, mean: float, deviation: float) -> Floats:
    """To mean 0 and deviation 1, in place; a constant image becomes 0.

    Args:
        voxels: Floats of any shape; they are changed.
        mean: Is subtracted.
        deviation: Is divided by, where it is not 0.
    """
    if deviation <= 0:
        voxels[...] = 0
        return voxels
    voxels -= np.float32(mean)
    voxels /= np.float32(max(deviation, 1e-30))
    return voxels


def parting(voxels: Floats) -> float:
    """The intensity that parts dark voxels from bright ones best (Otsu, IEEE Trans. SMC 1979)."""
    counts, edges = np.histogram(np.minimum(voxels, np.percentile(voxels, 99)), 128)
    centres = (edges[:-1] + edges[1:]) / 2
    dark, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    bright = voxels.size - dark
    apart = sums[:-1] / np.maximum(dark, 1) - (sums[-1] - sums[:-1]) / np.maximum(bright, 1)
    between = dark * bright.astype(float) * apart**2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # all the way across a gap without voxels
    return float(edges[1 + int(best[len(best) // 2])])


def percentiles(voxels: Floats) -> tuple[float, float]:
    """The 0.5th and the 99.5th percentile."""
    low, high = np.percentile(voxels.ravel(order="K"), [0.5, 99.5])
    return float(low), float(high)


def shown(array: NDArray[Any]) -> tuple[float, float]:
    """Black and white for a display, always apart: the 0.5th percentile of what is not exactly 0, and the 99.5th of the
    body, which is what is brighter than the mean of that; with the air around it counted, the body would be saturated.
    """
    voxels = np.asarray(array).ravel(order="K")
    voxels = finite(voxels[:: max(1, voxels.size // 1_000_000)])
    body = voxels[voxels != 0]
    if body.size == 0:
        return 0.0, 1.0
    bright = body[body > body.mean()]
    low, high = float(np.percentile(body, 0.5)), float(np.percentile(bright if bright.size else body, 99.5))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def number(measured: Mapping[str, float], key: str, otherwise: float) -> float:
    """A measured number, where it is there and finite.

    Args:
        measured: Statistics of the fingerprint, by their names.
        key: The statistic.
        otherwise: Stands in its place where it is missing, infinite or nan.
    """
    value = float(measured.get(key, otherwise))
    return value if np.isfinite(value) else otherwise
