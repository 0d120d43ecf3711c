"""How photographs of the retina are normalised, augmented and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .field import find_field
from .options import FundusOptions

AUGMENTATION = {
    "rotation": 45.0,
    "scale": 0.1,
    "shift": 0.05,
    "elastic": 0.0,
    "gamma": 0.2,
    "noise": 0.05,
    "brightness": 0.2,
    "contrast": 0.2,
    "shading": 0.3,
    "blur": 0.0,
    "lowres": 0.0,
    "mirror": 1.0,
}
"""Vessels are one or two pixels wide: nothing blurs them but the rotation. A retina has no up; eyes are mirrored."""

WHITES = (1.0, 255.0, 65535.0)
TILES = 8
"""Along each axis of a photograph, those that CLAHE equalises by."""


class FundusModality:
    """Each channel of each photograph to mean 0 and deviation 1 within its field of view; 0 around it.

    So cameras, exposures and 8 or 16 bits make no difference. Photographs in one channel (red-free) are taken as well.
    """

    def __init__(self, options: FundusOptions) -> None:
        self._options = options
        changed: dict[str, float] = {str(way): amount for way, amount in options.augmentation.items()}
        self.augmentation: Mapping[str, float] = {**AUGMENTATION, **changed}

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        """Nothing of other photographs is needed."""
        return [{} for _ in intensities]

    def valid_region(self, array: NDArray[Any]) -> NDArray[np.bool_] | None:
        """The field of view (i, j) of a photograph (channel, i, j); None where it has no border."""
        return find_field(array) if self._options.field_of_view == "found" and array.ndim == 3 else None

    def normalise(self, array: NDArray[Any], params: Sequence[Mapping[str, float]]) -> NDArray[np.float32]:
        """Normalise (channel, *spatial)."""
        field = find_field(array) if array.ndim == 3 else None
        inside = np.ones(array.shape[1:], np.bool_) if field is None else field
        green = self._options.colour == "green" and len(array) == 3
        channels = [self._channel(channel, inside) for channel in (array[1:2] if green else array)]
        return np.stack(channels * 3 if green else channels)

    def window(self, array: NDArray[Any]) -> tuple[float, float]:
        """From black to the full brightness of 1, 255 or 65535, whichever holds the picture."""
        brightest = float(np.nan_to_num(np.asarray(array, dtype=np.float64), posinf=0.0).max(initial=0.0))
        return 0.0, next((white for white in WHITES if brightest <= white), WHITES[-1])

    def _channel(self, channel: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            voxels = np.nan_to_num(channel.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        if self._options.clahe and voxels.ndim == 2:
            voxels = _evened(voxels, inside, self._options.clip_limit)
        retina = voxels[inside].astype(np.float64)
        deviation = retina.std()
        if deviation <= 1e-7 * abs(retina.mean()):
            return np.zeros_like(voxels)
        return np.where(inside, (voxels - retina.mean()) / deviation, 0.0).astype(np.float32)


def _evened(channel: NDArray[np.float32], inside: NDArray[np.bool_], limit: float) -> NDArray[np.float32]:
    """CLAHE of one channel (i, j), the border filled with the retina's mean so that no tile is stretched by it."""
    from skimage.exposure import equalize_adapthist

    filled = np.where(inside, channel, channel[inside].mean())
    low, high = float(filled.min()), float(filled.max())
    if not low < high or min(channel.shape) < TILES:
        return channel
    tile = [max(1, n // TILES) for n in channel.shape]
    evened: NDArray[np.float32] = equalize_adapthist((filled - low) / (high - low), tile, limit).astype(np.float32)
    return evened
