"""How slices of scans are shown in pictures: across which axis, in which window, as which grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.volume import Array, Item

if TYPE_CHECKING:
    from ..preprocessing.modality import Modality

BACKGROUND = (16, 18, 22)
SAMPLES = 200_000
"""Voxels by which the display window is chosen."""
THICK = 1.5
"""So many times the other spacings makes an axis the one the scanner stepped along."""
SOFT_TISSUE, LUNG, BONE = (-160.0, 240.0), (-1350.0, 150.0), (-500.0, 1300.0)
"""Hounsfield units that are black and white; the first is for everything that is neither air nor bone."""
AIR, MEASURED = -900.0, (-3100.0, 32000.0)
"""Hounsfield units: what lies below is air; what a scanner can give."""
OF_ALL, OF_BODY = 0.5, 99.5
"""Percentiles: black is one of all voxels, white one of the body, of which at most 1 voxel in 200 is saturated."""


def shown_axis(spacing: Sequence[float]) -> int:
    """The axis across which slices of a scan are shown: that of thick slices, else the last."""
    longest = int(np.argmax(spacing))
    return longest if spacing[longest] > THICK * sorted(spacing)[1] else 2


def plane_name(axis: int) -> str:
    """What slices across an axis of a scan in RAS order are called."""
    return ("sagittal", "coronal", "axial")[axis]


def display_window(channel: Array, modality: Modality | None, inside: Array | None = None) -> tuple[float, float]:
    """The intensities that are black and white.

    Args:
        modality: Says it for its images; without one, see `guessed_window`.
        inside: Voxels of the structures, by which a CT without a modality gets its window.
    """
    some = sampled(channel)
    if not some.size:
        return 0.0, 1.0
    low, high = modality.window(some) if modality else guessed_window(some, inside)
    return float(low), float(high if high > low else low + max(1.0, 1e-6 * abs(low)))


def guessed_window(some: Array, inside: Array | None = None) -> tuple[float, float]:
    """Of Hounsfield units the window for what lies inside; of others percentiles within the body.

    The body is what is brighter than the mean of all voxels that are not exactly 0: percentiles of everything would be
    those of the air around it.
    """
    if is_hounsfield(some):
        return ct_window(None if inside is None or not inside.size else float(np.median(sampled(inside))))
    voxels = some.astype(np.float32, copy=False).ravel()
    there = voxels[voxels != 0]
    if not there.size:
        return 0.0, 1.0
    body = there[there > there.mean(dtype=np.float64)]
    low = float(np.percentile(there, OF_ALL))
    return low, float(np.percentile(body, OF_BODY)) if body.size else low


def is_hounsfield(some: Array) -> bool:
    """Whether voxels can only be Hounsfield units: air is in the image, and nothing beyond what scanners give."""
    low, high = float(some.min()), float(some.max())
    return MEASURED[0] <= low <= AIR and 0 < high <= MEASURED[1]


def ct_window(median: float | None) -> tuple[float, float]:
    """The window for structures of so many Hounsfield units; of soft tissue where none are known."""
    if median is None or SOFT_TISSUE[0] <= median <= SOFT_TISSUE[1]:
        return SOFT_TISSUE
    return LUNG if median < SOFT_TISSUE[0] else BONE


def sampled(voxels: Array) -> Array:
    """Some of the voxels, spread over the array, without those that are not finite numbers."""
    step = max(1, round((voxels.size / SAMPLES) ** (1 / max(1, voxels.ndim))))
    some = voxels[(slice(None, None, step),) * voxels.ndim]
    if some.dtype.kind in "fc" and not np.isfinite(some).all():
        some = some[np.isfinite(some)]
    return some


def low_is_bright(item: Item | None) -> bool:
    """Whether the header says that low values are shown bright, as of many radiographs; the values stay as they are."""
    return item is not None and not {"monochrome1", "white-is-zero"}.isdisjoint(one.code for one in item.problems)


def grey_of(plane: Array, window: tuple[float, float]) -> Array:
    """Intensities as uint8 grey, those of the first bound and beyond black, of the second white."""
    low, high = window
    values = plane.astype(np.float32)
    if plane.dtype.kind == "f":
        values = np.nan_to_num(values, nan=low, posinf=max(window), neginf=min(window))
    values -= low
    values *= 255 / (high - low)
    grey: Array = values.clip(0, 255).astype(np.uint8)
    return grey
