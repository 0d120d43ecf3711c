"""Whether a scan fits into memory, by its header and before a voxel is read."""

from __future__ import annotations

from math import prod

from ..errors import DataError
from ..imaging.orientation import orientation_of, shape_at
from ..preprocessing.plan import Plan
from ..support.memory import free_memory
from .entry import Entry

STORED, SEEN, MASK = 2, 4, 1
"""The least bytes of a voxel: as it is stored, as the network sees it (float32, at the plan's spacing), in a mask."""


class TooLarge(DataError):
    """A scan does not fit into memory."""


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
    """Bytes that no way of segmenting a scan can do without: its voxels, what the network sees of them, the mask."""
    total = 0.0
    for item in entry.items:
        total += prod(item.shape) * item.channels * STORED
    first = entry.items[0] if entry.items else None
    if first is None or len(first.shape) != len(plan.spacing):
        return int(total)
    order = orientation_of(first.affine, len(first.shape)).order
    seen = shape_at([first.shape[axis] for axis in order], [first.spacing[axis] for axis in order], plan.spacing)
    channels = max(len(plan.channels), first.channels)
    return int(total + prod(seen) * channels * SEEN + prod(first.shape) * MASK)
