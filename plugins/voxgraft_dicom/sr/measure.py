"""The size of each structure: its volume, or its area in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxgraft.plugin import Volume

from ..objects.segments import Segments


@dataclass(frozen=True, slots=True)
class Size:
    """One structure.

    Attributes:
        ml, mm2: Its volume in a 3D scan, its area in a picture; the other is None.
    """

    ml: float | None
    mm2: float | None


def sizes_of(segments: Segments, mask: Volume) -> Sequence[Size]:
    """The size of each segment.

    Args:
        mask: What the segments are of.
    """
    sizes = []
    for number in range(1, segments.count + 1):
        slices = [int(k) for k in np.flatnonzero(segments.found[number - 1])]
        voxels = sum(int(np.count_nonzero(segments.plane(number, k))) for k in slices)
        flat = mask.dims == 2
        area = round(voxels * float(np.prod(mask.spacing)), 3) if flat else None
        sizes.append(Size(None if flat else round(voxels * mask.voxel_ml, 4), area))
    return sizes
