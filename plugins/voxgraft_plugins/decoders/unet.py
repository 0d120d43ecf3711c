"""The expanding half of a U-Net (Ronneberger et al. 2015) over an encoder's maps, whatever their sizes are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from voxgraft.plugin import DecoderModule

from .options import UNetOptions
from .parts import Upsample, check_maps, convolutions, level_widths


class UNetDecoder(DecoderModule):
    """Decoded maps, fine to coarse: one for each of the encoder's maps but the coarsest, each of that map's own size.

    Args:
        channels: Of the encoder's maps, fine to coarse.
        strides: How much coarser than the image they are along each axis.
    """

    name = "unet"

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: UNetOptions
    ) -> None:
        super().__init__()
        widths = level_widths(dims, channels, options)
        self.channels = tuple(widths)
        below = [*widths[1:], channels[-1]]
        self.ups, self.levels = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            joined = channels[0]
            if len(channels) > 1:
                factor = [coarse / fine for fine, coarse in zip(strides[level], strides[level + 1], strict=True)]
                self.ups.append(Upsample(dims, below[level], width, factor))
                joined = width + channels[level]
            self.levels.append(convolutions(dims, joined, width, count=options.convs, norm=options.norm))

    def skip(self, level: int, fine: Tensor, below: Tensor) -> Tensor:
        """What of the encoder's map is joined on this level; `below` is the decoded map of the level below.

        Args:
            level: Counted from 0, the finest.
            fine: The encoder's map, (batch, channel, *spatial).
            below: The decoded map of the level below, coarser by one stride.
        """
        return fine

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps(self.name, maps, len(self.ups) + 1)
        if not self.ups:
            return [self.levels[0](maps[0])]
        decoded: list[Tensor] = []
        x = maps[-1]
        for level in reversed(range(len(self.levels))):
            fine = maps[level]
            x = self.levels[level](torch.cat([self.ups[level](x, fine.shape[2:]), self.skip(level, fine, x)], 1))
            decoded.insert(0, x)
        return decoded
