"""Linear interpolation of logits onto a scan's grid, a slab at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class Interpolation:
    """Linear interpolation along one axis between grids over the same extent, a part at a time."""

    def __init__(self, source: int, target: int) -> None:
        position = (torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5
        position = position.clamp(0, source - 1)
        self.low = position.floor().long()
        self.high = (self.low + 1).clamp_max(source - 1)
        self.share = (position - self.low).float()

    def targets(self, begin: int, end: int, source: int) -> tuple[int, int]:
        """The target positions that belong to source positions begin..end, and can be made of them.

        Each target belongs to exactly one of consecutive parts that overlap by their last position.

        Args:
            begin, end: The part of the source that is there: its first position, and the one after its last.
            source: Positions of the whole source.
        """
        low = 0 if begin == 0 else int((self.low < begin).sum())
        high = len(self.low) if end >= source else int((self.low < end - 1).sum())
        return low, max(low, high)

    def take(self, values: Tensor, axis: int, low: int, high: int, begin: int) -> Tensor:
        """Target positions low..high of an axis whose first position is `begin` of the source.

        Args:
            values: A part of the source, any number of axes.
            axis: Along which it is interpolated.
            low, high: The first target position, and the one after the last.
            begin: The position in the whole source of the first one in `values`.
        """
        lower, upper = self.low[low:high] - begin, self.high[low:high] - begin
        share = self.share[low:high]
        if not share.any() and torch.equal(lower, torch.arange(values.shape[axis])):
            return values
        share = share.to(values.device).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        below = values.index_select(axis, lower.to(values.device))
        other = values.index_select(axis, upper.to(values.device))
        return torch.lerp(below, other, share)


def resize_rest(logits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Linear interpolation of the last axes of (class, rows, columns, *rest)."""
    if tuple(logits.shape[3:]) == shape:
        return logits
    flat = logits.flatten(0, 2)[:, None]
    done = functional.interpolate(flat, shape, mode="linear", align_corners=False)
    return done.reshape(*logits.shape[:3], *shape)
