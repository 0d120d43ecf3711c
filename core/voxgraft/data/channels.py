"""The channels of a case on one grid, where some that are optional may not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import DataError
from ..reading import stack
from ..volume import Volume
from .align import Align


def stack_channels(volumes: Sequence[Volume | None], align: Align | None = None) -> Volume:
    """Join channels as `voxgraft.reading.stack` does; one that is not there is zeros.

    Args:
        align: Its number of a channel counts those that are not there.

    Raises:
        DataError: None is there, the one that gives the grid is not there, or they do not lie on one grid.
    """
    present = [volume for volume in volumes if volume is not None]
    if len(present) == len(volumes):
        return stack(present, align)
    if not present:
        raise DataError("none of the channels is there")
    joined = stack(present, among_present(align, volumes))
    rows = joined.array.reshape(len(present), *joined.shape)
    array = np.zeros((len(volumes), *reversed(joined.shape)), joined.array.dtype).transpose(
        0, *range(joined.dims, 0, -1)
    )
    places = [place for place, volume in enumerate(volumes) if volume is not None]
    for place, row in zip(places, rows, strict=True):
        array[place] = row
    return Volume(array, joined.affine, dims=joined.dims, item=joined.item)


def among_present(align: Align | None, channels: Sequence[object | None]) -> Align | None:
    """The same, with the channel that gives the grid counted among those that are there.

    Raises:
        DataError: It is not there.
    """
    if align is None or align.onto >= len(channels):
        return align
    if channels[align.onto] is None:
        raise DataError(f"channel {align.onto + 1} gives the grid and is not there")
    return replace(align, onto=sum(channel is not None for channel in channels[: align.onto]))


def missing_in(images: Sequence[object | None]) -> tuple[int, ...]:
    """The numbers of the channels that are not there."""
    return tuple(place for place, image in enumerate(images) if image is None)
