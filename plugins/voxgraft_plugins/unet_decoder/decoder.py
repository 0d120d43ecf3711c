"""The expanding half of a U-Net (Ronneberger et al. 2015) over an encoder's maps, whatever their sizes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.errors import ModelError
from voxgraft.model.blocks import Norm, conv_norm_act
from voxgraft.model.words import LINEAR

from .config import UNetConfig

MAX_WIDTH = {2: 256, 3: 128}
STEP = 8
"""Widths are multiples of this, for the groups of GroupNorm."""


class UNetDecoder:
    """Makes `UNetLevels` for an encoder."""

    def __init__(self, config: UNetConfig) -> None:
        self._config = config

    def make(self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]]) -> UNetLevels:
        """The module; see `voxgraft.interfaces.Decoder`."""
        most = self._config.max_width or max(MAX_WIDTH[dims], self._config.width)
        levels = channels[:-1] or channels
        widths = [min(most, max(self._config.width, -(-width // STEP) * STEP)) for width in levels]
        return UNetLevels(dims, channels, strides, widths, convs=self._config.convs, norm=self._config.norm)


class UNetLevels(nn.Module):
    """Decoded maps, fine to coarse: one for each of the encoder's maps but the coarsest, each of that map's own size.

    Args:
        channels: Of the encoder's maps, fine to coarse.
        strides: How much coarser than the image they are along each axis.
        widths: Channels of the decoded maps, fine to coarse.
    """

    def __init__(
        self,
        dims: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        widths: Sequence[int],
        *,
        convs: int,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.channels = tuple(widths)
        below = [*widths[1:], channels[-1]]
        self.ups, self.levels = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            joined = channels[0]
            if len(channels) > 1:
                factor = [coarse / fine for fine, coarse in zip(strides[level], strides[level + 1], strict=True)]
                self.ups.append(Upsample(dims, below[level], width, factor))
                joined = width + channels[level]
            steps = [conv_norm_act(dims, joined, width, norm=norm)]
            steps += [conv_norm_act(dims, width, width, norm=norm) for _ in range(convs - 1)]
            self.levels.append(nn.Sequential(*steps))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Decoded maps from the encoder's; both are lists of (batch, channel, *spatial), fine to coarse."""
        if len(maps) != len(self.ups) + 1:
            raise ModelError(f"unet: made for {len(self.ups) + 1} maps of an encoder, got {len(maps)}")
        if not self.ups:
            return [self.levels[0](maps[0])]
        decoded: list[Tensor] = []
        x = maps[-1]
        for level in reversed(range(len(self.levels))):
            fine = maps[level]
            x = self.levels[level](torch.cat([self.ups[level](x, fine.shape[2:]), fine], 1))
            decoded.insert(0, x)
        return decoded


class Upsample(nn.Module):
    """A transposed convolution whose kernel is its stride, then a cut to the size that is wanted.

    It keeps channels-last memory, which interpolation does not, and is the fastest on a CPU of those measured. Sizes
    that a network with unpadded convolutions gives are reached by interpolation.
    """

    def __init__(self, dims: int, inside: int, outside: int, factor: Sequence[float]) -> None:
        super().__init__()
        self._mode = LINEAR[dims]
        step = tuple(max(1, round(value)) for value in factor)
        transposed: Any = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
        self.convolution = transposed(inside, outside, step, step)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """The map (batch, channel, *size)."""
        x = self.convolution(x)
        if any(have < want for have, want in zip(x.shape[2:], size, strict=True)):
            return functional.interpolate(x, tuple(size), mode=self._mode, align_corners=False)
        for axis, want in enumerate(size, start=2):
            x = x.narrow(axis, 0, want)
        return x
