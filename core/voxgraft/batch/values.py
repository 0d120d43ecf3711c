"""Whether a scan fits: into memory by its header, before a voxel is read; then its values, to the model's modality."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..imaging.orientation import orientation_of, shape_at
from ..inference.need import TooLarge
from ..preprocessing.modality import like_hounsfield, not_hounsfield
from ..support.memory import free_memory
from .contract import Level, Verdict

if TYPE_CHECKING:
    from ..imaging.volume import Array, Item, Volume
    from ..preprocessing.plan import Plan
    from .entry import Entry

DRAWN = 100_000
"""Voxels that stand for the distribution of a channel's intensities."""

SEEN_AIR = -500.0
"""In training a channel with values below this held Hounsfield units, or something like them, itself."""


class Unfit(DataError):
    """The values of a scan do not fit the model."""


def judge_values(scan: Volume, known: bool, plan: Plan, missing: tuple[int, ...] = ()) -> Verdict:
    """Compare the values of a scan with those that the model was trained on.

    Values that look like Hounsfield units are refused by a model of another modality that saw none in training; values
    that do not are doubted by a model of CT alone that did.

    Args:
        scan: Shape (i, j[, k]) or (channel, i, j[, k]).
        known: The headers say the modality, which then counts.
        missing: The channels that are not there.
    """
    codes = plan.contract.get("modality") or []
    seen = plan.contract.get("values") or []
    if known or not codes:
        return Verdict()
    differences: list[tuple[Level, str]] = []
    for number, channel in enumerate(scan.array.reshape(scan.channels, *scan.shape)):
        if number not in missing:
            lowest = seen[number][0] if number < len(seen) else None
            differences += _differences(channel, codes, lowest)
    return Verdict(
        max((level for level, _ in differences), default=Level.FITS),
        tuple(dict.fromkeys(text for _, text in differences)),
    )


def refuse_unfit(verdict: Verdict, forced: bool) -> None:
    """Refuse what the contract refuses, unless a person's word outweighs it.

    Raises:
        Unfit: It does not fit the model.
    """
    if verdict.level == Level.UNFIT and not forced:
        raise Unfit(f"does not fit the model: {verdict} (--ignore-contract segments it anyway)")


def _differences(channel: Array, codes: list[str], lowest: float | None) -> Iterator[tuple[Level, str]]:
    flat = channel.ravel(order="K")
    drawn = flat[:: max(1, flat.size // DRAWN) | 1].astype(np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return
    low, high = (float(value) for value in np.percentile(drawn, [0.5, 99.5]))
    if "CT" not in codes:
        strange = lowest is None or lowest > SEEN_AIR
        if strange and like_hounsfield(low, high, bool((drawn == np.rint(drawn)).all())):
            of = " and ".join(codes)
            yield Level.UNFIT, f"its values look like Hounsfield units, and the model was trained on {of}"
    elif codes == ["CT"] and lowest is not None and lowest < 0 and (why := not_hounsfield(drawn.min(), drawn.max())):
        yield Level.DOUBTFUL, f"it is not a CT in Hounsfield units: {why}"


STORED, SEEN, MASK = 2, 4, 1
"""The least bytes of a voxel: as it is stored, as the network sees it (float32, at the plan's spacing), in a mask."""


def check_memory(entry: Entry, plan: Plan, free: int | None = None) -> None:
    """Refuse a scan that cannot fit; one that passes may still not.

    Args:
        entry: The scan, of which only headers have been read.
        plan: Gives the spacing and the channels that the network sees.
        free: Bytes; by default what this machine has left.

    Raises:
        TooLarge: The message gives its size, what it needs at least and what is free.
    """
    need = least_bytes(entry, plan)
    free = free_memory() if free is None else free
    if need > free:
        size = "x".join(map(str, entry.items[0].shape))
        raise TooLarge(
            f"its {size} voxels need at least {need / 1e9:.1f} GB of memory, and {max(free, 0) / 1e9:.1f} GB are free"
        )


def least_bytes(entry: Entry, plan: Plan) -> int:
    """Bytes that no way of segmenting a scan can do without: its voxels, and what predicting takes beside them."""
    stored = sum(prod(item.shape) * item.channels * STORED for item in entry.items)
    return stored + (bytes_beside(entry.items[0], plan) if entry.items else 0)


def bytes_beside(scan: Item | Volume, plan: Plan) -> int:
    """Bytes that no way of predicting can do without beside the scan itself: what the network sees of it, the mask."""
    mask = prod(scan.shape) * MASK
    if len(scan.shape) != len(plan.spacing):
        return mask
    order = orientation_of(scan.affine, len(scan.shape)).order
    seen = shape_at([scan.shape[axis] for axis in order], [scan.spacing[axis] for axis in order], plan.spacing)
    return mask + prod(seen) * max(len(plan.channels), scan.channels) * SEEN
