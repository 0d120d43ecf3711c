"""Which part of a scan a network looks at: all of it, or the box of the body, where that takes fewer windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BrokenPlugin
from ..imaging.body import Box, body_box
from ..imaging.orientation import shape_at
from ..preprocessing.modality import ShowsBody
from .cover import covering, on_grid

if TYPE_CHECKING:
    from ..imaging.volume import Volume
    from ..preprocessing.modality import Modality
    from ..preprocessing.plan import Plan

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
    found = body_box(array[channel], image.spacing, air, body)
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
