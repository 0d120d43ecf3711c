"""What several decoders are made of: widths, ways to enlarge a map, stacks of convolutions, the residual block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import LINEAR, SLOPE, ModelError, Norm, conv_norm_act, convolution, normalisation

from .options import FlatOptions, LevelsOptions

MAX_WIDTH = {2: 256, 3: 128}
FLAT_WIDTH = {2: 64, 3: 32}
STEP = 8
"""Widths are multiples of this, for the groups of GroupNorm."""


def level_widths(dims: int, channels: Sequence[int], options: LevelsOptions) -> list[int]:
    """Channels of the decoded maps, fine to coarse: one for each of the encoder's maps but the coarsest.

    Args:
        dims: 2 or 3, the axes in space.
        channels: Of the encoder's maps, fine to coarse.
        options: Their least width, and their greatest where it is not the usual one.
    """
    most = options.max_width or max(MAX_WIDTH[dims], options.width)
    return [min(most, max(options.width, -(-width // STEP) * STEP)) for width in channels[:-1] or channels]


def flat_width(dims: int, options: FlatOptions) -> int:
    """Channels of a decoder whose maps are all of one width."""
    return options.width or FLAT_WIDTH[dims]


def check_maps(name: str, maps: Sequence[Tensor], count: int) -> None:
    """Refuse another number of maps than the decoder was made for.

    Args:
        name: Of the decoder, for the message.
        maps: Of the encoder, fine to coarse, each (batch, channel, *spatial).
        count: How many the decoder was made for.

    Raises:
        ModelError: There are more or fewer.
    """
    if len(maps) != count:
        raise ModelError(f"{name}: made for {count} maps of an encoder, got {len(maps)}")


def ratio(fine: Sequence[int], coarse: Sequence[int]) -> tuple[int, ...]:
    """How many times coarser one map is than another, along each axis, from their strides."""
    return tuple(max(1, round(big / small)) for small, big in zip(fine, coarse, strict=True))


def enlarged(x: Tensor, size: Sequence[int], factor: Sequence[int], *, nearest: bool = False) -> Tensor:
    """A map (batch, channel, *spatial) at a finer map's size, linearly between voxels or from the nearest.

    It is enlarged by the factor and cut at its far ends, so that every voxel covers the finer ones it was made of,
    whatever the size. Sizes that networks with unpadded convolutions give are reached by interpolation.

    Args:
        x: The coarse map.
        size: Of the finer map, without batch and channel.
        factor: The stride between the two, for each axis in space.
        nearest: Repeat voxels instead of interpolating.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    grown = [have * step for have, step in zip(x.shape[2:], factor, strict=True)]
    if any(have < want for have, want in zip(grown, size, strict=True)):
        grown = list(size)
    if nearest:
        x = functional.interpolate(x, grown, mode="nearest")
    else:
        x = functional.interpolate(x, grown, mode=LINEAR[x.ndim - 2], align_corners=False)
    for axis, want in enumerate(size, start=2):
        x = x.narrow(axis, 0, want)
    return x


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


class ResidualBlock(nn.Module):
    """Two convolutions, each with its norm, and a short cut that is a convolution where the width changes."""

    def __init__(self, dims: int, inside: int, outside: int, *, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_act(dims, inside, outside, norm=norm),
            convolution(dims, outside, outside),
            normalisation(norm, dims, outside),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inside != outside:
            self.shortcut = nn.Sequential(
                convolution(dims, inside, outside, kernel=1), normalisation(norm, dims, outside)
            )
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return y


def convolutions(dims: int, inside: int, width: int, *, count: int, norm: Norm) -> nn.Sequential:
    """So many 3x3(x3) convolutions one after the other, each with its norm and activation.

    Args:
        dims: 2 or 3, the axes in space.
        inside: Channels of the map that comes in.
        width: Channels of every map that follows.
        count: How many convolutions.
        norm: `group`, `instance` or `batch`.
    """
    rest = [conv_norm_act(dims, width, width, norm=norm) for _ in range(count - 1)]
    return nn.Sequential(conv_norm_act(dims, inside, width, norm=norm), *rest)


def pointwise_block(dims: int, inside: int, outside: int, *, norm: Norm) -> nn.Sequential:
    """A 1x1(x1) convolution, a normalisation, a LeakyReLU.

    Args:
        dims: 2 or 3, the axes in space.
        inside: Channels of the map that comes in.
        outside: Channels of the map that goes out.
        norm: `group`, `instance` or `batch`.
    """
    return nn.Sequential(
        convolution(dims, inside, outside, kernel=1),
        normalisation(norm, dims, outside),
        nn.LeakyReLU(SLOPE, inplace=True),
    )
