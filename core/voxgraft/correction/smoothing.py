"""The border of a structure made smooth in space, without touching other structures."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .change import Change, Labels
from .geometry import box_of, check_label, check_spacing, free_voxels, grown

KINDS = ("median", "gaussian")
FURTHEST = 40
"""Voxels of the longest radius along an axis."""
CUT = 3.0
"""Standard deviations at which the Gaussian ends."""


def smooth(
    mask: Labels,
    label: int,
    spacing: Sequence[float],
    radius_mm: float,
    kind: str = "median",
    locked: Collection[int] = (),
    over: bool = False,
) -> Change:
    """Smooth the border of a structure.

    `median`: a voxel becomes what most voxels are within the radius; `gaussian`: what prevails when they are weighed by
    a Gaussian with the radius as two standard deviations. Beyond the edge of the mask the structure is taken to go on
    as it is there. What is removed becomes background.

    Args:
        mask: The mask (i, j[, k]).
        label: The structure.
        spacing: Millimetres between voxels along each axis.
        radius_mm: What is smaller goes.
        kind: One of `KINDS`.
        locked: Labels of structures that lose and gain no voxel.
        over: The structure may grow into others; else only into background.

    Raises:
        DataError: An argument is out of range, the structure is locked, or nothing of it would be left.
    """
    check_label(mask, label, locked)
    steps = check_spacing(spacing, mask.ndim)
    if kind not in KINDS:
        raise DataError(f"{kind!r} is not a smoothing method; choose {' or '.join(KINDS)}")
    if not (math.isfinite(radius_mm) and 0 < radius_mm <= FURTHEST * min(steps)):
        raise DataError(f"the radius of smoothing is from 0 to {FURTHEST * min(steps):g} mm in this mask")
    box = box_of(mask, label)
    if box is None:
        return Change.nothing(mask)
    wide = grown(box, [math.ceil(CUT * radius_mm / step) for step in steps], mask.shape)
    inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, wide, strict=True))
    share = _shares(np.asarray(mask[wide] == label, np.float32), steps, radius_mm, kind)[inner]
    now = mask[box]
    new = (share > 0.5) & (free_voxels(now, locked, over) | (now == label))
    if not new.any():
        raise DataError(
            f"nothing of the structure would be left with a radius of {radius_mm:g} mm; choose a smaller one"
        )
    after = now.copy()
    if 0 not in locked:
        after[now == label] = 0
    after[new] = label
    return Change.of_box(mask, box, after)


def _shares(
    inside: NDArray[np.float32], steps: Sequence[float], radius_mm: float, kind: str
) -> NDArray[np.floating[Any]]:
    """How much of the surroundings of each voxel belongs to the structure, from 0 to 1."""
    if kind == "gaussian":
        from scipy.ndimage import gaussian_filter

        sigmas = [radius_mm / 2 / step for step in steps]
        weighed: NDArray[np.float32] = gaussian_filter(inside, sigmas, mode="nearest", truncate=CUT)
        return weighed
    from scipy.signal import oaconvolve

    reach = [math.floor(radius_mm / step) for step in steps]
    grids = np.ogrid[tuple(slice(-far, far + 1) for far in reach)]
    squares: Any = sum((grid * step) ** 2 for grid, step in zip(grids, steps, strict=True))
    ball = np.asarray(squares <= radius_mm**2, np.float32)
    around = np.pad(inside, [(far, far) for far in reach], mode="edge")
    counted: NDArray[np.floating[Any]] = np.rint(oaconvolve(around, ball, mode="valid")) / ball.sum()
    return counted
