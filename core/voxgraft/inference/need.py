"""What predicting a scan takes of memory, worked out before any of it is taken, and how it is divided to fit.

All logits of a scan are never there at once: a slab of as many rows as a window has is, and of that only as many
columns as fit. Fewer columns mean that windows on their borders are computed twice: slower, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from ..errors import DataError
from ..support.machine import gigabytes

if TYPE_CHECKING:
    from ..preprocessing.plan import Plan

FEWEST = 8
"""Columns below which nearly every window would be computed twice or more."""
SHARE = 0.5
"""Of the memory that is free, what a slab may take where it could take less."""
DECIDING = 100 << 20
"""Interpolated logits of a few rows, and what is made of them on the way."""
REACH = 4
"""Columns of logits beside those that are decided."""


class TooLarge(DataError):
    """A scan does not fit into memory."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that predicting a scan takes at most, beside the scan itself and the weights.

    Attributes:
        before: While the scan becomes what the network sees.
        fixed: While windows are computed, without the slab: what the network sees, and the result.
        window: One pass of the network, where it is computed.
        column: Each column of a slab of logits.
        after: While labels are put into the scan's own order.
    """

    before: int
    fixed: int
    window: int
    column: int
    after: int

    def host(self, columns: int, on_device: bool = False) -> int:
        """On the host, with a slab of so many columns; `on_device`: passes and slab are elsewhere."""
        work = self.fixed + DECIDING + (0 if on_device else self.window + self.slab(columns))
        return max(self.before, work, self.after)

    def slab(self, columns: int) -> int:
        return (columns + REACH) * self.column


def need_of(plan: Plan, shape: Sequence[int], seen: Sequence[int], activations: int, batch: int = 1) -> Need:
    """What predicting takes.

    Args:
        shape: Voxels of the scan, axes in RAS order.
        seen: Voxels of what the network sees of it.
        activations: Bytes that the network itself takes for one window.
        batch: Number of windows in one pass.
    """
    channels, size = len(plan.channels), 1 if plan.classes <= (8 if plan.regions else 254) else 4
    image, scan = 4 * channels * prod(seen), prod(shape)
    window = prod(plan.patch)
    padded = image if any(n < r for n, r in zip(_flat(seen, plan), plan.patch, strict=True)) else 0
    return Need(
        before=8 * channels * scan + 2 * image,
        fixed=image + padded + size * scan,
        window=batch * (window * (4 * channels + 12 * plan.classes) + activations) + 8 * plan.classes * window,
        column=column_bytes(plan, _flat(seen, plan), _flat(shape, plan)),
        after=(size + 2 * (1 if max(plan.values) < 256 else 2)) * scan,
    )


def column_bytes(plan: Plan, seen: Sequence[int], shape: Sequence[int]) -> int:
    """Of the logits of a slab, each column, with what is decided about it.

    Args:
        plan: Of the model.
        seen: Voxels that the network sees.
        shape: Voxels of the scan.
    """
    rows, rest = min(max(seen[0], plan.patch[0]), plan.patch[0]) + 1, max(prod(seen[2:]), prod(plan.patch[2:]))
    finer = prod(max(1.0, new / old) for old, new in zip(seen, shape, strict=True))
    return int(rows * rest * (4 * plan.classes + 12 + 8 * finer))


def columns_that_fit(plan: Plan, seen: Sequence[int], shape: Sequence[int], free: float) -> int:
    """How many columns a slab has: all, or as many as half of the memory holds, but at least a window's.

    Args:
        seen: Voxels of what the network sees.
        shape: Of the result.
        free: Bytes for the slab alone.

    Raises:
        TooLarge: Not even a few columns fit.
    """
    each, least = column_bytes(plan, seen, shape), min(seen[1], plan.patch[1])
    most = int(free / each) - REACH
    if most < min(seen[1], FEWEST):
        raise TooLarge(
            f"logits of {plan.classes} classes need {gigabytes(each * (FEWEST + REACH))} of memory at least, beside "
            f"what the scan takes, and {gigabytes(max(0.0, free))} are free"
        )
    return min(seen[1], most, max(least, int(SHARE * free / each) - REACH))


def check_room(need: Need, plan: Plan, seen: Sequence[int], free: float, device: float | None = None) -> int:
    """How many bytes are left for the slab, once everything else is there.

    Args:
        seen: Voxels of what the network sees.
        free: Bytes on the host.
        device: Bytes free on the GPU that computes; None where the host does. A slab that does not fit there is kept
            on the host.

    Raises:
        TooLarge: Something else does not fit already; the message says what is needed at least, and what is free.
    """
    fewest = min(_flat(seen, plan)[1], FEWEST)
    if device is not None and need.window > device:
        raise TooLarge(
            f"one pass of the network needs {gigabytes(need.window)} of the GPU's memory, and {gigabytes(device)} are "
            "free; set inference.batch to 1, or use the CPU"
        )
    elsewhere = device is not None and need.window + need.slab(fewest) <= device
    least = need.host(fewest, on_device=elsewhere)
    if least > free:
        size = "x".join(map(str, seen))
        raise TooLarge(
            f"its {size} voxels at the network's spacing and {plan.classes} classes need {gigabytes(least)} of memory, "
            f"and {gigabytes(max(0.0, free))} are free"
        )
    if elsewhere and device is not None:
        return int(device - need.window)
    return int(free - need.fixed - need.window - DECIDING)


def _flat(shape: Sequence[int], plan: Plan) -> tuple[int, ...]:
    """The axes that the network sees at once."""
    if len(shape) == plan.dims:
        return tuple(shape)
    return tuple(n for axis, n in enumerate(shape) if axis != plan.slice_axis)
