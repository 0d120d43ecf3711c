"""UNETR's decoder (Hatamizadeh et al. 2022): residual blocks over tokens that are brought to several resolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from voxgraft.plugin import DecoderModule, Norm

from .options import UNETROptions
from .parts import ResidualBlock, Upsample, check_maps, enlarged, level_widths, ratio


def spread(strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The strides at which the maps are decoded: halved from the coarsest on where maps are of one resolution.

    A transformer's tokens have one stride, 16 say, on every layer; over an image, four of them are decoded at 16, 8,
    4 and 2. Maps of a pyramid stay where they are, and nothing becomes finer than the finest map.
    """
    targets = [tuple(strides[-1])]
    for stride in reversed(strides[:-1]):
        halves = [max(-(-below // 2), finest) for below, finest in zip(targets[0], strides[0], strict=True)]
        targets.insert(0, tuple(min(own, half) for own, half in zip(stride, halves, strict=True)))
    targets[0] = tuple(strides[0])
    return targets


class UNETRDecoder(DecoderModule):
    """Decoded maps, fine to coarse: one for each of the encoder's maps but the coarsest.

    Every skip, the image among them, passes a residual block, or one after each enlargement on the way to its level.
    """

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: UNETROptions
    ) -> None:
        super().__init__()
        widths, norm = level_widths(dims, channels, options), options.norm
        self.channels, self._maps = tuple(widths), len(channels)
        targets = spread(strides)
        self._coarser = [ratio(targets[0], target) for target in targets]
        below = [*widths[1:], channels[-1]]
        self.skips, self.ups, self.levels = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            self.skips.append(Skip(dims, channels[level], width, ratio(targets[level], strides[level]), norm=norm))
            if len(channels) > 1:
                self.ups.append(Upsample(dims, below[level], width, ratio(targets[level], targets[level + 1])))
                self.levels.append(ResidualBlock(dims, 2 * width, width, norm=norm))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps("unetr", maps, self._maps)
        if not self.ups:
            return [self.skips[0](maps[0], maps[0].shape[2:])]
        finest = maps[0].shape[2:]
        decoded: list[Tensor] = []
        x = maps[-1]
        for level in reversed(range(len(self.levels))):
            size = [-(-n // step) for n, step in zip(finest, self._coarser[level], strict=True)]
            skip = self.skips[level](maps[level], size)
            x = self.levels[level](torch.cat([self.ups[level](x, skip.shape[2:]), skip], 1))
            decoded.insert(0, x)
        return decoded


class Skip(nn.Module):
    """A map at its own resolution or, by doublings, a finer one."""

    def __init__(self, dims: int, inside: int, outside: int, factor: Sequence[int], *, norm: Norm) -> None:
        super().__init__()
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        self._steps: list[list[int]] = []
        left = list(factor)
        while max(left) > 1:
            step = [min(2, part) for part in left]
            left = [-(-part // by) for part, by in zip(left, step, strict=True)]
            self._steps.append(step)
            self.ups.append(Upsample(dims, inside, outside, step))
            self.blocks.append(ResidualBlock(dims, outside, outside, norm=norm))
            inside = outside
        if not self.ups:
            self.blocks.append(ResidualBlock(dims, inside, outside, norm=norm))

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """The map; of that size where it was enlarged."""
        if not self.ups:
            y: Tensor = self.blocks[0](x)
            return y
        for up, block, step in zip(self.ups, self.blocks, self._steps, strict=True):
            x = block(up(x, [n * by for n, by in zip(x.shape[2:], step, strict=True)]))
        return enlarged(x, size, [1] * len(size))
