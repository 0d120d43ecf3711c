"""The channels of a case on one grid, where some that are optional may not be there.

Channels on grids of their own are brought onto the grid of one of them: in training and in prediction alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from ..errors import DataError
from .volume import Align, Item, Volume, millimetres_apart, same_grid, times


def stack_channels(volumes: Sequence[Volume | None], align: Align | None = None) -> Volume:
    """Join one-channel volumes of one grid into a volume of shape (channel, *spatial), in their order.

    One that is not there is zeros. The grids count as equal where no corner is further apart than 1 % of the smallest
    spacing, or 0.01 mm. The item is that of the first, or of the one whose grid the others were brought onto, with the
    problems of all.

    Args:
        align: Bring channels on other grids onto the grid of one of them, whose number counts those that are not there;
            by default all must lie on one grid.

    Raises:
        DataError: There is none, the one that gives the grid is not there, one has several channels already, or the
            grids differ; the message says by how much.
    """
    present = [volume for volume in volumes if volume is not None]
    if not present:
        raise DataError("all channels are missing" if volumes else "there are no channels to join")
    if len(volumes) == 1:
        return present[0]
    if (align := among_present(align, volumes)) is not None:
        present = aligned(present, align)
    first = present[align.onto if align is not None else 0]
    for number, volume in enumerate(present, 1):
        name = volume.item.path if volume.item else f"channel {number}"
        if volume.channels != 1:
            raise DataError(f"{name}: it has {volume.channels} channels itself and cannot be one channel of an image")
        if volume.shape != first.shape:
            raise DataError(f"{name}: it has {times(volume.shape)} voxels and the first channel {times(first.shape)}")
        apart = millimetres_apart(first.affine, volume.affine, first.shape)
        if apart > max(0.01, 0.01 * min(first.spacing)):
            raise DataError(f"{name}: its grid lies up to {apart:.3g} mm off the grid of the first channel")
    # Readers give arrays whose first axis is contiguous; the same order here makes every copy a straight one.
    shape = (len(volumes), *reversed(first.shape))
    joined = np.empty(shape, np.result_type(*(volume.array.dtype for volume in present)))
    array = joined.transpose(0, *range(first.dims, 0, -1))
    there = iter(present)
    for channel, given in zip(array, volumes, strict=True):
        channel[...] = 0 if given is None else next(there).array.reshape(first.shape)
    return Volume(array, first.affine, dims=first.dims, item=_of_all(first, present))


def among_present(align: Align | None, channels: Sequence[object | None]) -> Align | None:
    """The same, with the channel that gives the grid counted among those that are there."""
    if align is None or align.onto >= len(channels):
        return align
    if channels[align.onto] is None:
        raise DataError(f"channel {align.onto + 1} gives the grid and is missing")
    return replace(align, onto=sum(channel is not None for channel in channels[: align.onto]))


def missing_in(images: Sequence[object | None]) -> tuple[int, ...]:
    """The numbers of the channels that are not there."""
    return tuple(index for index, image in enumerate(images) if image is None)


def _of_all(first: Volume, volumes: Sequence[Volume]) -> Item | None:
    """The item of one volume with the problems of all, each once."""
    if first.item is None:
        return None
    problems = dict.fromkeys(problem for volume in volumes if volume.item for problem in volume.item.problems)
    return first.item if tuple(problems) == first.item.problems else replace(first.item, problems=tuple(problems))


SHARE = 9
"""Points along each axis that are looked at to see whether two images overlap."""


def aligned(volumes: Sequence[Volume], align: Align) -> list[Volume]:
    """The channels on the grid of one of them, in their order; a channel on that grid already is given back as it is.

    Raises:
        DataError: A channel is not known to lie in the same space, or does not overlap; the message names it.
    """
    if align.onto >= len(volumes):
        raise DataError(f"channel {align.onto + 1} is to give the grid, and there are {len(volumes)} channels")
    return [_onto(volume, volumes[align.onto], align, number) for number, volume in enumerate(volumes)]


def _onto(volume: Volume, reference: Volume, align: Align, number: int) -> Volume:
    from .regrid import resample_onto

    name = volume.item.path if volume.item else f"channel {number + 1}"
    if volume is reference:
        return volume
    frame, reference_frame = _frame(volume), _frame(reference)
    same, both = same_grid(volume, reference), bool(frame and reference_frame)
    registered = frame == reference_frame if both else same
    if align.across == "frame" and not registered:
        why = "have different frames of reference" if both else "do not both name a frame of reference"
        raise DataError(
            f"{name}: it and the channel that gives the grid {why}, so nothing says that they are registered; "
            "set align: any if they are"
        )
    if same:
        return volume
    if _overlap(volume, reference) == 0:
        raise DataError(f"{name}: it does not overlap with the channel that gives the grid")
    return resample_onto(volume, reference, "linear")


def _frame(volume: Volume) -> str:
    facts = volume.item.facts if volume.item else {}
    return str(facts.get("frame") or facts.get("frame_of_reference") or "")


def _overlap(volume: Volume, reference: Volume) -> float:
    """The share of the reference's points that lie inside the volume."""
    lines = [np.linspace(0, n - 1, SHARE) for n in (*reference.shape, 1)[:3]]
    points = np.array([(*point, 1.0) for point in product(*lines)])
    voxels = points @ (np.linalg.inv(volume.affine) @ reference.affine)[:3].T
    size = np.array((*volume.shape, 1)[:3])
    inside = ((voxels >= -0.5) & (voxels <= size - 0.5))[:, : volume.dims]
    return float(inside.all(1).mean())
