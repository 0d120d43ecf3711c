"""Decisions on a finer grid: logits are interpolated only where neighbours disagree, and the winner is the same.

Where all neighbours of a voxel have one winner, that class wins between them too, for interpolated logits are weighted
means; `mixed` is monotone in floating point, so rounding cannot reverse the order, and neighbours whose two best logits
are too close for it to keep them apart count as disagreeing. Everywhere else all classes are interpolated, in the same
order of the same operations as in `Planes`: both ways give the same classes, voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .interpolation import Place, Planes, mixed
from .winners import Tally, kind_of, largest, row_groups, winners

AT_A_TIME = 1 << 14
"""Voxels whose neighbours disagree that are interpolated together."""
WORTH = 0.4
"""The share of voxels with disagreeing neighbours up to which it is faster to look at those alone."""
PLANES = 4
"""Planes by which that share is judged before anything else is done."""
APART = 2.0**-19
"""Of the largest logit: how far the best two must be apart, four times what rounding can do along three axes."""


def decide_here(logits: Tensor, tally: Tally) -> Tensor:
    """The winning class of each voxel of (class, *spatial): uint8 or int16 (*spatial)."""
    classes = torch.empty(logits.shape[1:], dtype=kind_of(len(logits)), device=logits.device)
    for rows in row_groups(logits):
        best = largest(logits[:, rows], classes[rows])
        tally.add(classes[rows], 1 / _others(logits[:, rows], best))
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
            return decide_here(self.planes.at(rows), tally)
        found, sure = low.clone(), torch.sigmoid(-rows.of(self.odds, 0))
        for some in torch.split(open_, AT_A_TIME):
            values = self._at(some, places)
            best, classes = values.max(0)
            found.view(-1)[some] = classes.to(found.dtype)
            sure.view(-1)[some] = 1 / _others(values, best)
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
    if low is high:
        below, above = low.index_select(axis, lower), low.index_select(axis, upper)
        return torch.minimum(below, above), torch.maximum(below, above)
    return (
        torch.minimum(low.index_select(axis, lower), low.index_select(axis, upper)),
        torch.maximum(high.index_select(axis, lower), high.index_select(axis, upper)),
    )


def _others(logits: Tensor, best: Tensor) -> Tensor:
    """One over the probability of the winner: the sum of exp(logit - best) over classes."""
    return (logits - best).exp_().sum(0)
