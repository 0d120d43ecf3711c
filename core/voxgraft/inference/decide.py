"""Which class wins at each voxel of a scan's grid, which may be finer than the network's.

Logits are interpolated linearly, a part at a time, and only where neighbours disagree. Where all neighbours of a voxel
have one winner, that class wins between them too, for interpolated logits are weighted means; `mixed` is monotone in
floating point, so rounding cannot reverse the order, and neighbours whose two best logits are too close for it to keep
them apart count as disagreeing. Everywhere else all classes are interpolated, in the same order of the same operations
as in `Planes`: both ways give the same classes, voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .grid import Place, Planes, mixed, taken

AT_A_TIME = 1 << 17
"""Voxels that are looked at together: what is between stays in the processor's cache."""


def winners(logits: Tensor) -> Tensor:
    """The class of the largest logit at each voxel, of several equal ones the first: what `argmax(0)` gives.

    Args:
        logits: (class, *spatial), finite.

    Returns:
        (*spatial), uint8 up to 256 classes, otherwise int16.
    """
    classes = torch.empty(logits.shape[1:], dtype=kind_of(logits.shape[0]), device=logits.device)
    for rows in row_groups(logits):
        largest(logits[:, rows], classes[rows])
    return classes


def largest(logits: Tensor, classes: Tensor, second: Tensor | None = None) -> Tensor:
    """Write the class of the largest logit into `classes`; returns that logit, (*spatial).

    Args:
        logits: (class, *spatial), finite.
        classes: Of `kind_of`; written.
        second: Minus infinity everywhere; becomes the second largest logit.
    """
    best = logits[0].clone()
    classes.zero_()
    above = torch.empty(best.shape, dtype=torch.bool, device=best.device)
    flag = above.view(torch.uint8)
    for number in range(1, len(logits)):
        torch.gt(logits[number], best, out=above)
        # Numbers grow, so the larger of two is the later winner; a masked write would take three times as long.
        torch.maximum(classes, flag.to(classes.dtype) * number, out=classes)
        if second is not None:
            torch.maximum(second, torch.minimum(best, logits[number]), out=second)
        torch.maximum(best, logits[number], out=best)
    return best


def largest_of_few(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest logit at each of some voxels, (class, voxel), and its class, of several equal ones the first.

    As `max(0)` gives it, in a fifth of the time; faster than `largest` where all is in the processor's cache.
    """
    best = logits.amax(0)
    number = len(logits)
    order = torch.arange(number, 0, -1, dtype=kind_of(number + 1), device=logits.device)[:, None]
    return best, (number - ((logits == best).to(order.dtype) * order).amax(0)).to(kind_of(number))


def row_groups(logits: Tensor) -> Iterator[slice]:
    """Parts of the first spatial axis of (class, *spatial)."""
    number = logits.shape[1]
    step = max(1, AT_A_TIME // max(1, logits[0, :1].numel())) if number else 1
    return (slice(start, min(number, start + step)) for start in range(0, number, step))


def kind_of(classes: int) -> torch.dtype:
    """The type that holds as many class indices."""
    return torch.uint8 if classes <= 256 else torch.int16


class Tally:
    """Mean probability of the winning class, class by class, over parts of a scan."""

    def __init__(self, classes: int) -> None:
        self.sums = torch.zeros(classes, dtype=torch.float64)
        self.voxels = torch.zeros(classes, dtype=torch.float64)

    def add(self, classes: Tensor, best: Tensor) -> None:
        flat = classes.flatten()
        number = len(self.sums)
        self.sums += torch.bincount(flat, best.flatten().double(), minlength=number).cpu()
        self.voxels += torch.bincount(flat, minlength=number).double().cpu()

    def add_region(self, index: int, probability: Tensor, inside: Tensor) -> None:
        """Add one part of a scan for one region.

        Args:
            index: The region's place among the network's outputs.
            probability: Of the region, any shape.
            inside: Bool of the same shape: where the region was decided for.
        """
        self.sums[index] += (probability * inside).double().sum().cpu()
        self.voxels[index] += inside.sum().double().cpu()

    def means(self) -> list[float]:
        return [float(s / n) if n else 0.0 for s, n in zip(self.sums, self.voxels, strict=True)]


OPEN_AT_A_TIME = 1 << 12
"""Voxels whose neighbours disagree that are interpolated together."""
WORTH = 0.4
"""The share of voxels with disagreeing neighbours up to which it is faster to look at those alone."""
PLANES = 4
"""Planes by which that share is judged before anything else is done."""
APART = 2.0**-19
"""Of the largest logit: how far the best two must be apart, four times what rounding can do along three axes."""


def decide_here(logits: Tensor, tally: Tally, spent: bool = False) -> Tensor:
    """The winning class of each voxel of (class, *spatial): uint8 or int16 (*spatial).

    Args:
        logits: Finite.
        tally: Is told the probability of what was decided.
        spent: Nobody needs the logits any more: they may be written over.
    """
    classes = torch.empty(logits.shape[1:], dtype=kind_of(len(logits)), device=logits.device)
    for rows in row_groups(logits):
        best = largest(logits[:, rows], classes[rows])
        tally.add(classes[rows], 1 / _others(logits[:, rows], best, spent))
    return classes


def disagree(logits: Tensor) -> bool:
    """Whether so many voxels of a few planes of (class, *spatial) have a neighbour in them with another winner that
    looking at borders alone would not pay: then nobody has to look for borders."""
    low = high = winners(logits[:, :: max(1, logits.shape[1] // PLANES)])
    for axis in range(1, low.ndim):
        last = low.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, last), low.narrow(axis, 1, last))
        high = torch.maximum(high.narrow(axis, 0, last), high.narrow(axis, 1, last))
    return bool((low != high).float().mean() > WORTH)


class Decisions:
    """What was decided at the voxels of one part of the network's grid, as the start of decisions between them.

    Args:
        logits: (class, *spatial), finite.
        most: The largest absolute value of them.
        rest: What is wanted along each axis but the first.
    """

    def __init__(self, logits: Tensor, most: float, rest: Sequence[Place]) -> None:
        self.logits, self.rest, self.planes = logits, rest, Planes(logits, rest)
        kind = kind_of(len(logits) + 1)
        self.unsure = int(torch.iinfo(kind).max)
        classes = torch.empty(logits.shape[1:], dtype=kind, device=logits.device)
        odds = torch.empty(logits.shape[1:], device=logits.device)
        for rows in row_groups(logits):
            part = logits[:, rows]
            second = torch.full_like(part[0], -torch.inf)
            best = largest(part, classes[rows], second)
            classes[rows].masked_fill_(best - second <= APART * most, self.unsure)
            odds[rows] = (_others(part, best) - 1).clamp_min_(2.0**-24).log_()
        low = high = classes
        for axis in range(len(rest), 0, -1):
            low, high = _range(low, high, rest[axis - 1], axis)
            odds = rest[axis - 1].of(odds, axis)
        self.low, self.high, self.odds = low, high, odds

    def between(self, rows: Place, tally: Tally) -> Tensor:
        """The winning classes at some rows of a finer grid, (*spatial) of them.

        Args:
            rows: What is wanted along the first axis.
            tally: Is told the probability of what was decided. Where all neighbours agree that is what their log odds,
                interpolated, say: exact for two classes, and for more of them never above that of all logits.
        """
        low, high = _range(self.low, self.high, rows, 0)
        places = (rows, *self.rest)
        open_ = ((low != high) | (high == self.unsure)).flatten().nonzero()[:, 0]
        if len(open_) > WORTH * low.numel():
            return decide_here(self.planes.at(rows), tally, spent=not all(place.same for place in places))
        found, sure = low.clone(), torch.sigmoid(-rows.of(self.odds, 0))
        for some in torch.split(open_, OPEN_AT_A_TIME):
            values = self._at(some, places)
            best, classes = largest_of_few(values)
            found.view(-1)[some] = classes.to(found.dtype)
            sure.view(-1)[some] = 1 / _others(values, best, spent=True)
        tally.add(found, sure)
        return found

    def _at(self, voxels: Tensor, places: Sequence[Place]) -> Tensor:
        """Interpolated logits (class, voxel) at some voxels, given by their flat index on the finer grid."""
        logits = self.logits
        steps = logits.stride()[1:]
        span = 1 + sum((n - 1) * step for n, step in zip(logits.shape[1:], steps, strict=True))
        flat = logits.as_strided((len(logits), span), (logits.stride(0), 1))
        shares: list[Tensor] = []
        rest = voxels
        corners = [torch.zeros_like(voxels)]  # the last axis, which is interpolated first, changes fastest
        for place, step in reversed(list(zip(places, steps, strict=True))):
            index, rest = rest % place.number, rest // place.number
            lower, upper = (one.to(voxels.device)[index] * step for one in place.neighbours)
            if place.same:
                corners = [corner + lower for corner in corners]
                continue
            shares.append(place.share.to(voxels.device)[index])
            corners = [corner + end for end in (lower, upper) for corner in corners]
        values = [flat.index_select(1, corner) for corner in corners]
        for share in shares:
            values = [mixed(a, b, share) for a, b in zip(values[::2], values[1::2], strict=True)]
        return values[0]


def _range(low: Tensor, high: Tensor, place: Place, axis: int) -> tuple[Tensor, Tensor]:
    """The least and the largest class among the neighbours of each target along one axis."""
    if place.same:
        return place.of(low, axis), place.of(high, axis)
    lower, upper = (index.to(low.device) for index in place.neighbours)
    least, most = taken(low, axis, lower), taken(high, axis, upper)
    other = most if low is high else taken(low, axis, upper)
    return torch.minimum(least, other), torch.maximum(most, least if low is high else taken(high, axis, lower))


def _others(logits: Tensor, best: Tensor, spent: bool = False) -> Tensor:
    """One over the probability of the winner: the sum of exp(logit - best) over classes."""
    return (logits.sub_(best) if spent else logits - best).exp_().sum(0)
