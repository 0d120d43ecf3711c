"""U-Net++ (Zhou et al. 2018): nested, dense skips, with a head on each node of the finest row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from voxgraft.plugin import DecoderModule

from .options import NestedUNetOptions
from .parts import Upsample, check_maps, convolutions, level_widths, ratio


class NestedUNetDecoder(DecoderModule):
    """The nodes X(i, j) of level i and column j; X(i, 0) are the encoder's maps.

    `X(i, j) = H([X(i, 0), ..., X(i, j - 1), U(X(i + 1, j - 1))])` with convolutions H and enlargement U. Of n maps
    there are n (n - 1) / 2 nodes. The decoded maps are the finest row from its last node to its first, all of one size.
    """

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: NestedUNetOptions
    ) -> None:
        super().__init__()
        widths = level_widths(dims, channels, options)
        self._maps = len(channels)
        self.channels = (widths[0],) * max(1, len(channels) - 1)
        self.ups, self.nodes = nn.ModuleDict(), nn.ModuleDict()
        for column in range(1, max(2, len(channels))):
            for level in range(max(1, len(channels) - column)):
                width, joined = widths[level], channels[level]
                if len(channels) > 1:
                    below = channels[level + 1] if column == 1 else widths[level + 1]
                    factor = ratio(strides[level], strides[level + 1])
                    self.ups[f"{level}_{column}"] = Upsample(dims, below, width, factor)
                    joined += column * width
                self.nodes[f"{level}_{column}"] = convolutions(
                    dims, joined, width, count=options.convs, norm=options.norm
                )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps("unetplusplus", maps, self._maps)
        if self._maps == 1:
            return [self.nodes["0_1"](maps[0])]
        rows = [[one] for one in maps]
        for column in range(1, self._maps):
            for level in range(self._maps - column):
                row, name = rows[level], f"{level}_{column}"
                above = self.ups[name](rows[level + 1][column - 1], row[0].shape[2:])
                row.append(self.nodes[name](torch.cat([*row, above], 1)))
        return rows[0][:0:-1]
