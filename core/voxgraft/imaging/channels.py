"""The channels of a case on one grid, where some that are optional may not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import DataError
from .align import Align, aligned
from .volume import Item, Volume, millimetres_apart


def stack_channels(volumes: Sequence[Volume | None], align: Align | None = None) -> Volume:
    """Join channels as `voxgraft.imaging.channels.stack` does; one that is not there is zeros.

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
    indices = [index for index, volume in enumerate(volumes) if volume is not None]
    for index, row in zip(indices, rows, strict=True):
        array[index] = row
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
    return tuple(index for index, image in enumerate(images) if image is None)


def stack(volumes: Sequence[Volume], align: Align | None = None) -> Volume:
    """Join one-channel volumes of one grid into a volume of shape (channel, *spatial), in their order.

    The grids count as equal where no corner is further apart than 1 % of the smallest spacing, or 0.01 mm.

    The item is that of the first, or of the one whose grid the others were brought onto, with the problems of all.

    Args:
        align: Bring channels on other grids onto the grid of one of them; by default all must lie on one grid.

    Raises:
        DataError: There is none, one has several channels already, or the grids differ; the message says by how much.
    """
    if not volumes:
        raise DataError("there are no channels to join")
    if len(volumes) == 1:
        return volumes[0]
    if align is not None:
        volumes = aligned(volumes, align)
    first = volumes[align.onto if align is not None else 0]
    for number, volume in enumerate(volumes, 1):
        name = volume.item.path if volume.item else f"channel {number}"
        if volume.channels != 1:
            raise DataError(f"{name}: it has {volume.channels} channels itself and cannot be one channel of an image")
        if volume.shape != first.shape:
            raise DataError(f"{name}: it has {_times(volume.shape)} voxels and the first channel {_times(first.shape)}")
        apart = millimetres_apart(first.affine, volume.affine, first.shape)
        if apart > max(0.01, 0.01 * min(first.spacing)):
            raise DataError(f"{name}: its grid lies up to {apart:.3g} mm off the grid of the first channel")
    # Readers give arrays whose first axis is contiguous; the same order here makes every copy a straight one.
    shape = (len(volumes), *reversed(first.shape))
    joined = np.empty(shape, np.result_type(*(volume.array.dtype for volume in volumes)))
    array = joined.transpose(0, *range(first.dims, 0, -1))
    for channel, volume in zip(array, volumes, strict=True):
        channel[...] = volume.array.reshape(first.shape)
    return Volume(array, first.affine, dims=first.dims, item=_of_all(first, volumes))


def _of_all(first: Volume, volumes: Sequence[Volume]) -> Item | None:
    """The item of one volume with the problems of all, each once."""
    if first.item is None:
        return None
    problems = dict.fromkeys(problem for volume in volumes if volume.item for problem in volume.item.problems)
    return first.item if tuple(problems) == first.item.problems else replace(first.item, problems=tuple(problems))


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
