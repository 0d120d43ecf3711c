"""Channels on grids of their own are brought onto the grid of one of them: in training and in prediction alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from ..errors import DataError
from .volume import Volume, millimetres_apart


@dataclass(frozen=True, slots=True)
class Align:
    """How the channels of a case come onto one grid.

    Attributes:
        onto: The channel whose grid the case has, counted from 0; the others are interpolated linearly onto it.
        across: `frame` brings only channels together that share a DICOM frame of reference, so that the scanner vouches
            for their positions; `any` takes the word of the user.
    """

    onto: int = 0
    across: Literal["frame", "any"] = "frame"


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


def same_grid(volume: Volume, other: Volume) -> bool:
    """Whether no corner is further apart than 1 % of the smallest spacing, or 0.01 mm."""
    if volume.shape != other.shape:
        return False
    return millimetres_apart(volume.affine, other.affine, volume.shape) <= max(0.01, 0.01 * min(volume.spacing))


def _onto(volume: Volume, reference: Volume, align: Align, number: int) -> Volume:
    from .regrid import resample_onto

    name = volume.item.path if volume.item else f"channel {number + 1}"
    if volume is reference:
        return volume
    frame, reference_frame = _frame(volume), _frame(reference)
    same = same_grid(volume, reference)
    registered = frame == reference_frame if frame and reference_frame else same
    if align.across == "frame" and not registered:
        why = (
            "have different frames of reference"
            if frame and reference_frame
            else "do not both name a frame of reference"
        )
        raise DataError(
            f"{name}: it and the channel that gives the grid {why}, so nothing says that they are registered; "
            "say align: any if they are"
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
