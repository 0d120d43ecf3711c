"""The feature pyramid (Lin et al. 2017) with the branch for segmentation of Kirillov et al. 2019."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from voxgraft.plugin import CONVOLUTION, DecoderModule, Norm, conv_norm_act

from .options import FPNOptions
from .parts import check_maps, enlarged, flat_width, ratio


class FPNDecoder(DecoderModule):
    """A pyramid of maps of one width, and their sum at the finest level; the sum is the only decoded map.

    The branches and the decoded map have half as many channels as the pyramid.
    """

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: FPNOptions
    ) -> None:
        super().__init__()
        coarse = [level for level, stride in enumerate(strides) if max(stride) >= options.finest]
        first = coarse[0] if coarse else len(channels) - 1
        width = flat_width(dims, options)
        half = max(8, width // 2)
        self.channels = (half,)
        self._maps, self._first = len(channels), first
        self.reads = tuple(range(first, len(channels)))
        self._factors = [
            ratio(fine, coarse) for fine, coarse in zip(strides[first:], strides[first + 1 :], strict=False)
        ]
        self._last = ratio(strides[0], strides[first])
        taken = channels[first:]
        self.laterals = nn.ModuleList(CONVOLUTION[dims](inside, width, 1) for inside in taken)
        self.smooth = nn.ModuleList(CONVOLUTION[dims](width, width, 3, padding=1) for _ in taken)
        own = (1,) * dims
        self.branches = nn.ModuleList(
            Branch(dims, width, half, self._factors[:level] or [own], norm=options.norm) for level in range(len(taken))
        )

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps of the pyramid, fine to coarse: each lateral with the enlarged map above added, then smoothed."""
        sums = [lateral(one) for lateral, one in zip(self.laterals, maps[self._first :], strict=True)]
        for level in reversed(range(len(sums) - 1)):
            above = enlarged(sums[level + 1], sums[level].shape[2:], self._factors[level], nearest=True)
            sums[level] = sums[level] + above
        return [smooth(one) for smooth, one in zip(self.smooth, sums, strict=True)]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps("fpn", maps, self._maps)
        levels = self.pyramid(maps)
        sizes = [one.shape[2:] for one in levels]
        found = [
            branch(one, sizes[: max(1, level)])
            for level, (branch, one) in enumerate(zip(self.branches, levels, strict=True))
        ]
        total: Tensor = reduce(torch.add, found)
        return [enlarged(total, maps[0].shape[2:], self._last)]


class Branch(nn.Module):
    """From a level of the pyramid to the finest one: a convolution, then enlargement by one level, and again.

    Args:
        factors: How many times coarser each level on the way is than the one before, fine to coarse.
    """

    def __init__(self, dims: int, inside: int, outside: int, factors: Sequence[Sequence[int]], *, norm: Norm) -> None:
        super().__init__()
        self._factors = list(factors)
        self.blocks = nn.ModuleList(
            conv_norm_act(dims, outside if step else inside, outside, norm=norm) for step in range(len(factors))
        )

    def forward(self, x: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
        """The level (batch, channel, *spatial) at the first of the sizes, those on the way, fine to coarse."""
        for block, size, factor in zip(self.blocks, reversed(sizes), reversed(self._factors), strict=True):
            x = enlarged(block(x), size, factor)
        return x
