"""PET: one scale for all images, since uptake values mean the same on every scanner.

Each channel is kept between fixed ends, then its mean over the labelled structures is subtracted and divided by their
deviation, as nnU-Net does for CT (Isensee et al., Nature Methods 2021). Percentiles of single images would undo what
uptake values are for: a tumour of 12 and one of 3 would look alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgraft.plugin import HOUNSFIELD_LEVELS, UsageError

from .options import PetOptions

AUGMENTATION = {
    "rotation": 15.0,
    "scale": 0.2,
    "shift": 0.1,
    "elastic": 1.0,
    "gamma": 0.15,
    "noise": 0.1,
    "brightness": 0.05,
    "contrast": 0.15,
    "blur": 1.0,
    "lowres": 0.4,
    "mirror": 0.0,
}
"""Brightness hardly changes, for zero uptake is zero everywhere; noise, blur and lost resolution are what differs
between scanners and durations."""
AIR = -500.0
"""Only a CT has values below this."""


class PetModality:
    """Uptake values, and Hounsfield units where the options say so, by the same numbers for every image."""

    def __init__(self, options: PetOptions) -> None:
        self._options = options
        self.augmentation: Mapping[str, float] = {
            **AUGMENTATION,
            **{str(k): v for k, v in options.augmentation.items()},
        }

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        """The ends, the mean and the deviation of each channel.

        Raises:
            UsageError: The images have another number of channels than the options name.
        """
        held = self._options.channels
        if len(held) != len(intensities):
            raise UsageError(
                f"modality pet: channels names {len(held)} and the images have {len(intensities)}; say in their order "
                "what each holds, such as channels: [suv, hu]"
            )
        return [self._numbers(kind, measured) for kind, measured in zip(held, intensities, strict=True)]

    def _numbers(self, kind: str, measured: Mapping[str, float]) -> dict[str, float]:
        low, high = self._options.clip if kind == "suv" else self._options.clip_ct
        mean, deviation = measured.get("mean", low), measured.get("std", 1.0)
        return {
            "suv": float(kind == "suv"),
            "low": low,
            "high": high,
            "mean": min(max(mean, low), high) if np.isfinite(mean) else low,
            "std": deviation if np.isfinite(deviation) and 1e-3 < deviation < high - low else 1.0,
        }

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> NDArray[np.float32]:
        """Normalise (channel, *spatial); what is not a number counts as the lowest value that is kept."""
        result = np.empty(array.shape, np.float32)
        for channel, numbers, target in zip(array, params, result, strict=True):
            low, high = numbers["low"], numbers["high"]
            with np.errstate(over="ignore"):
                target[...] = channel
            np.nan_to_num(target, copy=False, nan=low, posinf=high, neginf=low)
            np.clip(target, low, high, out=target)
            target -= np.float32(numbers["mean"])
            target /= np.float32(numbers["std"])
        return result

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        """Of a channel with air in it the window of CT, of others that of uptake."""
        hounsfield = "hu" in self._options.channels and array.size and float(np.min(array)) < AIR
        return self._options.window_ct if hounsfield else self._options.window

    def units(self, params: Sequence[Mapping[str, float]]) -> list[str]:
        """What a NIfTI file with uptake values does not say itself."""
        return [self._options.measure if numbers.get("suv") else "HU" for numbers in params]

    def body_levels(self, array: NDArray[Any]) -> tuple[int, float, float] | None:
        """Of the CT beside the uptake, where there is one: the border of a body cannot be told by what it takes up."""
        held = self._options.channels
        return (held.index("hu"), *HOUNSFIELD_LEVELS) if "hu" in held else None
