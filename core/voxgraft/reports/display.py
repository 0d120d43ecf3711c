"""How slices of scans are shown in pictures: across which axis, in which window, as which grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.volume import Array

if TYPE_CHECKING:
    from ..preprocessing.modality import Modality

BACKGROUND = (16, 18, 22)
SAMPLES = 500_000
"""Voxels by which the display window is chosen."""
THICK = 1.5
"""So many times the other spacings makes an axis the one the scanner stepped along."""


def shown_axis(spacing: Sequence[float]) -> int:
    """The axis across which slices of a scan are shown: that of thick slices, else the last."""
    longest = int(np.argmax(spacing))
    return longest if spacing[longest] > THICK * sorted(spacing)[1] else 2


def display_window(channel: Array, modality: Modality | None) -> tuple[float, float]:
    """The intensities that are black and white; without a modality the 1st and 99th percentile."""
    step = max(1, round((channel.size / SAMPLES) ** (1 / channel.ndim)))
    some = channel[(slice(None, None, step),) * channel.ndim]
    if not np.isfinite(some).all():
        some = some[np.isfinite(some)]
    if not some.size:
        return 0.0, 1.0
    low, high = modality.window(some) if modality else np.percentile(some.astype(np.float32), (1, 99))
    return float(low), float(high if high > low else low + 1)


def grey_of(plane: Array, window: tuple[float, float]) -> Array:
    """Intensities as uint8 grey."""
    low, high = window
    finite = np.nan_to_num(plane.astype(np.float32), nan=low, posinf=high, neginf=low)
    grey: Array = ((finite.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
    return grey
