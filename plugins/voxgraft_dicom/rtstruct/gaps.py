"""Slices between contours: a shape half-way between those above and below, only where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from voxgraft.plugin import Array


def filled_gaps(mask: Array, levels: Sequence[int], spacing: Sequence[float]) -> None:
    """Fill the slices between neighbouring ones that have contours, in place.

    Source of the method: shape-based interpolation, S. Raya and J. Udupa, IEEE TMI 9:32-42, 1990: signed distances to
    the outlines are interpolated, and what lies on the inner side counts.

    Args:
        mask: Bool, with slices along the first axis.
        levels: The slices that have contours, in order.
        spacing: Millimetres between voxels along the axes of a slice.
    """
    for low, high in pairwise(levels):
        if high - low > 1 and mask[low].any() and mask[high].any():
            below, above = _signed(mask[low], spacing), _signed(mask[high], spacing)
            for level in range(low + 1, high):
                share = (level - low) / (high - low)
                mask[level] = (1 - share) * below + share * above > 0


def _signed(plane: Array, spacing: Sequence[float]) -> Array:
    """Millimetres to the outline, positive inside."""
    from scipy.ndimage import distance_transform_edt

    inside = distance_transform_edt(plane, sampling=spacing)
    outside = distance_transform_edt(~plane, sampling=spacing)
    return np.asarray(inside - outside)
