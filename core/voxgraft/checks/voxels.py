"""One pass over the voxels of an image: what its numbers are like, and fingerprints that find copies of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.volume import Array

CHUNK = 1 << 18
"""Voxels that are looked at together: few enough to stay in the processor's cache through the pass."""

SAMPLES = 100_000
"""Voxels that stand for the distribution of a channel's intensities."""

GRAIN = {2: 48, 3: 16}
"""Parts along each axis of a thumbnail, by the axes of the image."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What the voxels of one channel are like.

    Attributes:
        bad: Voxels that are not finite numbers; all other numbers are of the finite ones.
        low, middle, high: The percentiles 0.5, 50 and 99.5, of evenly drawn voxels.
        at_least, at_most: The shares of drawn voxels that have the least and the greatest value.
        distinct: Different values among the drawn voxels.
        whole: All drawn voxels are whole numbers.
        content: A fingerprint of the values in the order of memory, whatever their type, file and header.
        turned: A fingerprint of the values in no order: the same for mirrored and turned copies.
    """

    size: int
    bad: int
    least: float
    greatest: float
    low: float
    middle: float
    high: float
    at_least: float
    at_most: float
    distinct: int
    whole: bool
    content: str
    turned: str

    @property
    def constant(self) -> bool:
        return self.bad < self.size and self.least == self.greatest


def measure_channel(array: Array) -> Channel:
    """Look once at all voxels of a channel (i, j[, k]) of numbers."""
    flat = array.ravel(order="K")
    total, order_free = hashlib.sha256(), np.zeros(2, np.uint64)
    bad, least, greatest = 0, np.inf, -np.inf
    for start in range(0, flat.size, CHUNK):
        with np.errstate(over="ignore"):
            part = flat[start : start + CHUNK].astype(np.float32)
        part += 0.0  # -0 becomes 0
        total.update(part.data)
        bits = part.view(np.uint32).astype(np.uint64)
        order_free += [bits.sum(), (bits * bits).sum()]
        part_bad = 0 if flat.dtype.kind in "iub" else part.size - int(np.isfinite(part).sum())
        bad += part_bad
        part = part[np.isfinite(part)] if part_bad else part
        if part.size:
            least, greatest = min(least, float(part.min())), max(greatest, float(part.max()))
    drawn = flat[:: max(1, flat.size // SAMPLES) | 1].astype(np.float64)
    drawn = drawn[np.isfinite(drawn)]
    drawn = drawn if drawn.size else np.zeros(1)
    low, middle, high = (float(value) for value in np.percentile(drawn, [0.5, 50, 99.5]))
    shape = "x".join(str(n) for n in sorted(array.shape))
    return Channel(
        size=flat.size,
        bad=bad,
        least=least,
        greatest=greatest,
        low=low,
        middle=middle,
        high=high,
        at_least=float((drawn <= least).mean()),
        at_most=float((drawn >= greatest).mean()),
        distinct=len(np.unique(drawn)),
        whole=bool((drawn == np.rint(drawn)).all()),
        content=f"{shape} {total.hexdigest()}",
        turned=f"{shape} {order_free[0]:x} {order_free[1]:x}",
    )


def thumbnail(array: Array) -> NDArray[np.float32]:
    """A small picture of a channel with its axes in RAS order, of mean 0 and length 1; empty where there is none.

    Each of its parts is the mean of evenly drawn voxels, so two pictures of one scan are alike whatever was done to its
    scale of intensities or file format.
    """
    grain = GRAIN[array.ndim]
    indices = [(np.arange(4 * grain) + 0.5) * n // (4 * grain) if n > 4 * grain else np.arange(n) for n in array.shape]
    drawn = array[np.ix_(*(index.astype(np.intp) for index in indices))]
    small: NDArray[Any] = drawn.astype(np.float64)  # squares of large numbers overflow in float32
    if min(small.shape) < 2 or not np.isfinite(small).all():
        return np.zeros(0, np.float32)
    for axis, length in enumerate(small.shape):
        edges = np.linspace(0, length, min(grain, length) + 1).astype(np.intp)
        counts = np.diff(edges).reshape([-1 if other == axis else 1 for other in range(array.ndim)])
        small = np.add.reduceat(small, edges[:-1], axis) / counts
    if min(small.shape) < grain:
        small = small[np.ix_(*(np.arange(grain) * n // grain for n in small.shape))]
    flat = (small - small.mean()).ravel()
    length = float(np.linalg.norm(flat))
    result: NDArray[np.float32] = (flat / length).astype(np.float32) if length > 0 else np.zeros(0, np.float32)
    return result
