"""Decoders whose skips are added: SegResNet's (Myronenko 2018) and LinkNet's (Chaurasia and Culurciello 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from voxgraft.plugin import CONVOLUTION, SLOPE, DecoderModule, Norm, conv_norm_act, convolution, normalisation

from .options import LinkNetOptions, SegResNetOptions
from .parts import Upsample, check_maps, enlarged, level_widths, pointwise_block, ratio


class AddedLevels(DecoderModule):
    """Decoded maps, fine to coarse, one for each of the encoder's maps but the coarsest: `block(up(below) + skip)`.

    Args:
        ups: From the level below to each level, fine to coarse; each is called with a map and the size wanted.
        blocks: What follows the sum on each level.
    """

    def __init__(
        self,
        name: str,
        dims: int,
        channels: Sequence[int],
        widths: Sequence[int],
        ups: Sequence[nn.Module],
        blocks: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.name, self.channels, self._maps = name, tuple(widths), len(channels)
        self.ups, self.levels = nn.ModuleList(ups), nn.ModuleList(blocks)
        self.skips = nn.ModuleList(
            nn.Identity() if inside == width else CONVOLUTION[dims](inside, width, 1)
            for inside, width in zip(channels, widths, strict=False)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps(self.name, maps, self._maps)
        if self._maps == 1:
            return [self.levels[0](self.skips[0](maps[0]))]
        decoded: list[Tensor] = []
        x = maps[-1]
        for level in reversed(range(len(self.levels))):
            fine = maps[level]
            x = self.levels[level](self.ups[level](x, fine.shape[2:]) + self.skips[level](fine))
            decoded.insert(0, x)
        return decoded


class SegResNetDecoder(AddedLevels):
    """Levels of residual blocks."""

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: SegResNetOptions
    ) -> None:
        widths, norm = level_widths(dims, channels, options), options.norm
        below = [*widths[1:], channels[-1]]
        ups = [
            LinearUp(dims, inside, width, ratio(fine, coarse))
            for inside, width, fine, coarse in zip(below, widths, strides, strides[1:], strict=False)
        ]
        blocks = [
            nn.Sequential(*(PreactivatedBlock(dims, width, norm=norm) for _ in range(options.blocks)))
            for width in widths
        ]
        blocks[0].extend([normalisation(norm, dims, widths[0]), nn.LeakyReLU(SLOPE, inplace=True)])
        super().__init__("segresnet", dims, channels, widths, ups, blocks)


class LinkNetDecoder(AddedLevels):
    """Levels of narrow blocks."""

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: LinkNetOptions
    ) -> None:
        widths, norm = level_widths(dims, channels, options), options.norm
        below = [*widths[1:], channels[-1]]
        ups = [
            NarrowUp(dims, inside, width, ratio(fine, coarse), norm=norm)
            for inside, width, fine, coarse in zip(below, widths, strides, strides[1:], strict=False)
        ]
        blocks: list[nn.Module] = [nn.Identity() for _ in widths]
        blocks[0] = conv_norm_act(dims, widths[0], widths[0], norm=norm)
        super().__init__("linknet", dims, channels, widths, ups, blocks)


class LinearUp(nn.Module):
    """A 1x1 convolution to another width, then linear interpolation."""

    def __init__(self, dims: int, inside: int, outside: int, factor: Sequence[int]) -> None:
        super().__init__()
        self._factor = tuple(factor)
        self.convolution = CONVOLUTION[dims](inside, outside, 1, bias=False)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return enlarged(self.convolution(x), size, self._factor)


class PreactivatedBlock(nn.Module):
    """Norm, activation, convolution, twice, added to what came in."""

    def __init__(self, dims: int, width: int, *, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential()
        for _ in range(2):
            self.body.append(normalisation(norm, dims, width))
            self.body.append(nn.LeakyReLU(SLOPE, inplace=True))
            self.body.append(convolution(dims, width, width))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class NarrowUp(nn.Module):
    """A 1x1 convolution to a quarter of the channels, a transposed one, and a 1x1 convolution to the skip's width."""

    def __init__(self, dims: int, inside: int, outside: int, factor: Sequence[int], *, norm: Norm) -> None:
        super().__init__()
        narrow = max(8, inside // 4 // 8 * 8)
        self.reduce = pointwise_block(dims, inside, narrow, norm=norm)
        self.up = Upsample(dims, narrow, narrow, factor)
        self.restore = nn.Sequential(
            normalisation(norm, dims, narrow),
            nn.LeakyReLU(SLOPE, inplace=True),
            pointwise_block(dims, narrow, outside, norm=norm),
        )

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        y: Tensor = self.restore(self.up(self.reduce(x), size))
        return y
