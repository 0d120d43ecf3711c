"""Values of a grid, linearly interpolated onto a finer or coarser one over the same extent, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
        below, above = (taken(values, axis, index.to(values.device)) for index in (lower, upper))
        return mixed(below, above, self._shares(below, axis))

    def _shares(self, values: Tensor, axis: int) -> Tensor:
        """The share of each value of the last axes, laid out like them: torch takes a few long runs of numbers in a
        quarter of the time of many short ones."""
        first = max(0, min(axis, values.ndim - 2))
        share = self.share.to(values.device).reshape([-1 if a == axis else 1 for a in range(first, values.ndim)])
        return share.expand(values.shape[first:]).contiguous()


def taken(values: Tensor, axis: int, index: Tensor) -> Tensor:
    """Positions of one axis; along the last one `index_select` would take four times as long.

    Args:
        values: Any number of axes.
        axis: Of them, from 0.
        index: Positions, int64.
    """
    if axis and axis == values.ndim - 1:
        return values.gather(axis, index.expand(*values.shape[:-1], -1))
    return values.index_select(axis, index)


def mixed(below: Tensor, above: Tensor, share: Tensor) -> Tensor:
    """`below * (1 - share) + above * share`, written into `below`; `above` is used up.

    Each of the three operations is rounded by itself and grows with its operands, so of two classes the one that is
    not smaller in both neighbours is not smaller between them; of `torch.lerp` that is not so.

    Args:
        below, above: Values at the two neighbours, of one shape.
        share: How much of `above` there is, from 0 to 1; broadcast to that shape.
    """
    return below.mul_(1 - share).add_(above.mul_(share))


class Planes:
    """Rows of a finer grid between the planes of a coarser one, from first to last.

    Each plane is interpolated once, from its last axis to its first, and kept while rows beside it are wanted. What is
    at work together, two planes and a row, stays near the processor.

    Args:
        values: (class, *spatial).
        rest: What is wanted along each axis but the first.
    """

    def __init__(self, values: Tensor, rest: Sequence[Place]) -> None:
        self.values, self.rest = values, rest
        self._made: dict[int, Tensor] = {}

    def at(self, rows: Place) -> Tensor:
        """The targets (class, *spatial) at some rows; a view where there is nothing to interpolate."""
        lower, upper = (position.tolist() for position in rows.neighbours)
        if rows.same and all(place.same for place in self.rest):
            return self._within(self.values[:, lower[0] : lower[0] + rows.number] if lower else self.values[:, :0], 2)
        result = self.values.new_empty(len(self.values), rows.number, *(place.number for place in self.rest))
        scratch = torch.empty_like(result[:, 0]) if lower else result
        shares = rows.share.to(result.device)
        for row, low, high, share in zip(result.unbind(1), lower, upper, shares, strict=True):
            below, above = self._plane(low), self._plane(high)
            torch.mul(below, 1 - share, out=row)
            row.add_(torch.mul(above, share, out=scratch))  # rounded as in `mixed`
        return result

    def _plane(self, number: int) -> Tensor:
        """One plane, (class, *rest); those before the one below it are wanted no more."""
        if number not in self._made:
            self._made = {index: plane for index, plane in self._made.items() if index >= number - 1}
            self._made[number] = self._within(self.values[:, number], 1)
        return self._made[number]

    def _within(self, values: Tensor, first: int) -> Tensor:
        for axis in range(len(self.rest) - 1, -1, -1):
            values = self.rest[axis].of(values, axis + first)
        return values
