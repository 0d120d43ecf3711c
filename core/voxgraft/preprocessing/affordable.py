"""Voxels that a training without a GPU can afford."""

from __future__ import annotations

import math
from collections.abc import Sequence

CPU_VOXELS = 400_000
"""Voxels of a median volume that are worth their time on a CPU: `docs/transfer.md` has the left atrium at 1.25 mm."""

COARSEST = 2.0
"""A CPU's voxels are at most so many times as long as those of the scans."""


def affordable_spacing(shape: Sequence[int], spacing: Sequence[float]) -> tuple[float, ...] | None:
    """The spacing (mm) at which two cores learn from such volumes in the usual minutes; None where their own will do.

    Axes that are coarse already stay as they are.

    Args:
        shape: Voxels of the median volume, along its axes in RAS order.
        spacing: Millimetres between them, in the same order.
    """
    factor = min(COARSEST, (math.prod(shape) / CPU_VOXELS) ** (1 / 3))
    if factor <= 1.1:
        return None
    finest = min(spacing)
    return tuple(float(f"{max(step, finest * factor):.3g}") for step in spacing)
