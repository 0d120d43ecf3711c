"""Linear interpolation of logits onto a scan's grid, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


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
        return Place(self, low, high, begin).of(values, axis)


@dataclass(frozen=True)
class Place:
    """A part of the target positions of one axis, made of a part of the source.

    Attributes:
        along: Between the whole axes.
        low, high: The first target position, and the one after the last.
        begin: The position in the whole source of the first one that is there.
    """

    along: Interpolation
    low: int
    high: int
    begin: int = 0

    @property
    def number(self) -> int:
        return self.high - self.low

    @cached_property
    def neighbours(self) -> tuple[Tensor, Tensor]:
        """Positions in the part of the source below and above each target."""
        return self.along.low[self.low : self.high] - self.begin, self.along.high[self.low : self.high] - self.begin

    @property
    def needed(self) -> slice:
        """The positions in the part of the source that the targets are made of."""
        lower, upper = self.neighbours
        return slice(int(lower[0]), int(upper[-1]) + 1)

    @cached_property
    def share(self) -> Tensor:
        return self.along.share[self.low : self.high]

    @cached_property
    def same(self) -> bool:
        """Whether the targets are consecutive positions of the source: there is nothing to interpolate."""
        lower = self.neighbours[0]
        return not bool(self.share.any()) and bool((lower.diff() == 1).all())

    def of(self, values: Tensor, axis: int) -> Tensor:
        """The targets along one axis; a view where there is nothing to interpolate."""
        lower, upper = self.neighbours
        if self.same:
            return values.narrow(axis, int(lower[0]) if len(lower) else 0, self.number)
        share = self.share.to(values.device).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        below = values.index_select(axis, lower.to(values.device))
        return mixed(below, values.index_select(axis, upper.to(values.device)), share)


def mixed(below: Tensor, above: Tensor, share: Tensor) -> Tensor:
    """`below * (1 - share) + above * share`, written into `below`; `above` is used up.

    Each of the three operations is rounded by itself and grows with its operands, so of two classes the one that is
    not smaller in both neighbours is not smaller between them; of `torch.lerp` that is not so.

    Args:
        below, above: Values at the two neighbours, of one shape.
        share: How much of `above` there is, from 0 to 1; broadcast to that shape.
    """
    return below.mul_(1 - share).add_(above.mul_(share))


def interpolated(values: Tensor, places: Sequence[Place]) -> Tensor:
    """The targets along all axes of (class, *spatial), from the last axis to the first.

    Single elements are gathered while they are few; along the first axis whole planes are.
    """
    first = places[0].needed
    values = values[:, first]
    for axis in range(len(places) - 1, 0, -1):
        values = places[axis].of(values, axis + 1)
    return replace(places[0], begin=places[0].begin + first.start).of(values, 1)
