"""Where a network looks in a scan: all of it, or the body alone, where that takes fewer windows.

The windows over a part are some of those that cover the whole image, so where none of the others reached, logits are
bit for bit the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BrokenPlugin
from ..imaging.body import Box, body_box
from ..imaging.orientation import shape_at
from ..preprocessing.modality import ShowsBody
from .sliding import window_starts

if TYPE_CHECKING:
    from ..imaging.volume import Volume
    from ..preprocessing.modality import Modality
    from ..preprocessing.plan import Plan


@dataclass(frozen=True, slots=True)
class Cover:
    """Windows over a part of an image.

    Attributes:
        part: What they cover, in voxels of the image.
        starts: Where they begin along each axis, in voxels of the image.
    """

    part: Box
    starts: tuple[tuple[int, ...], ...]

    @property
    def crop(self) -> tuple[slice, ...]:
        return tuple(slice(*ends) for ends in self.part)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(high - low for low, high in self.part)

    @property
    def within(self) -> tuple[tuple[int, ...], ...]:
        """Where windows begin, in voxels of the part."""
        return tuple(tuple(s - low for s in row) for row, (low, _) in zip(self.starts, self.part, strict=True))


def covering(shape: Sequence[int], roi: Sequence[int], overlap: float, box: Box | None) -> Cover:
    """The fewest consecutive windows along each axis that cover a box; all, where there is none.

    Args:
        shape: Voxels of the image.
        roi: Voxels of a window.
        overlap: The share by which neighbouring windows overlap.
        box: In voxels of the image.
    """
    rows, part = [], []
    for size, edge, (low, high) in zip(shape, roi, box or [(0, n) for n in shape], strict=True):
        starts = window_starts(size, edge, overlap)
        first = max((start for start in starts if start <= low), default=0)
        last = min((start for start in starts if start + edge >= high and start >= first), default=starts[-1])
        rows.append(tuple(start for start in starts if first <= start <= last))
        part.append((first, min(size, last + edge)))
    return Cover(tuple(part), tuple(rows))


def on_grid(box: Box, old: Sequence[int], new: Sequence[int]) -> Box:
    """A box on another grid over the same extent; a voxel that it cuts belongs to it.

    Args:
        old: Voxels of the grid that it is given on.
        new: Of the other.
    """
    return tuple(
        (math.floor(low * after / before), math.ceil(high * after / before))
        for (low, high), before, after in zip(box, old, new, strict=True)
    )


ALL = "the whole scan"


@dataclass(frozen=True, slots=True)
class Search:
    """Where a network looks in a scan.

    Attributes:
        box: The part that is searched, axes in RAS order; None for all of it.
        said: The same for a person, with the reason where it is the whole scan although the body was asked for.
    """

    box: Box | None = None
    said: str = ALL


def search_of(
    modality: Modality, image: Volume, missing: Sequence[int], plans: Sequence[Plan], overlap: float
) -> Search:
    """Where to look in a scan if only the body is to be searched.

    Args:
        modality: May know how a body is told from air.
        image: Axes in RAS order.
        missing: The channels that the scan lacks.
        plans: Of the networks that are applied.
        overlap: Of their windows.

    Raises:
        BrokenPlugin: The modality names a channel that is not there.
    """
    if not isinstance(modality, ShowsBody):
        return Search(None, f"{ALL}: its modality does not distinguish the body from air")
    array = image.array.reshape(image.channels, *image.shape)
    levels = modality.body_levels(array)
    if levels is None or levels[0] in missing:
        return Search(None, f"{ALL}: no channel shows where the body is")
    channel, air, body = levels
    if not 0 <= channel < len(array):
        error = IndexError(f"names channel {channel} of {len(array)}")
        raise BrokenPlugin(type(modality).__module__, "telling the body from air", error)
    others = [array[number] for number in range(len(array)) if number != channel and number not in missing]
    found = body_box(array[channel], image.spacing, air, body, others)
    if isinstance(found, str):
        return Search(None, f"{ALL}: {found}")
    if not any(_saves(found, image, plan, overlap) for plan in plans):
        return Search(None, f"{ALL}: the body takes as many windows")
    ends = ", ".join(f"{low} to {high - 1}" for low, high in found)
    return Search(found, f"around the body: voxels {ends} from left, back and feet")


def _saves(box: Box, image: Volume, plan: Plan, overlap: float) -> bool:
    """Whether a box takes fewer windows, or slices, than the scan."""
    seen = shape_at(image.shape, image.spacing, plan.spacing)
    inside = on_grid(box, image.shape, seen)
    flat = [axis for axis in range(len(seen)) if plan.dims == plan.image_dims or axis != plan.slice_axis]
    if len(flat) < len(seen) and inside[plan.slice_axis] != (0, seen[plan.slice_axis]):
        return True
    shape, roi = [seen[axis] for axis in flat], plan.patch
    few, all_ = (covering(shape, roi, overlap, part) for part in (tuple(inside[axis] for axis in flat), None))
    return few.starts != all_.starts
