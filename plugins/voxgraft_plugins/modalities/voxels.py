"""What the modalities share: voxels made finite, statistics that bad voxels cannot spoil."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
