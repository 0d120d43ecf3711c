"""A residual encoder (He et al. 2016) with average pooling on its short cuts (ResNet-D, He et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import (
    SLOPE,
    EncoderModule,
    InputContract,
    ModelError,
    Norm,
    conv_norm_act,
    convolution,
    match_names,
    normalisation,
)

if TYPE_CHECKING:
    from voxgraft.plugin import Models, Weights

from .options import ResidualOptions

STEM = re.compile(r"(.*?)stem\.convs\.0\.(conv|norm)\.(weight|bias)")
BLOCK = re.compile(r"(.*?)stages\.(\d+)\.blocks\.(\d+)\.(conv1|conv2|skip\.\d)\.(conv|norm)\.(weight|bias)")
PLACES = {"conv1": ("body.0.0", "body.0.1"), "conv2": ("body.1", "body.2")}
"""Convolution and norm of each."""


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of `ResidualLevels`, whatever their prefix; others keep theirs."""
    named = {_renamed(name): tensor for name, tensor in tensors.items()}
    return match_names(named, {f"levels.{name.partition('levels.')[2]}" for name in named if "levels." in name})


def _renamed(name: str) -> str:
    """The name here, behind the same prefix."""
    if match := STEM.fullmatch(name):
        prefix, part, kind = match.groups()
        if (part, kind) != ("conv", "bias"):
            return f"{prefix}levels.0.0.{int(part == 'norm')}.{kind}"
    elif match := BLOCK.fullmatch(name):
        prefix, stage, block, where, part, kind = match.groups()
        if (part, kind) != ("conv", "bias"):
            number = int(block) + (stage == "0")
            return f"{prefix}levels.{stage}.{number}.{_place(where, part)}.{kind}"
    return name


def _place(where: str, part: str) -> str:
    norm = part == "norm"
    if where in PLACES:
        return PLACES[where][norm]
    return f"shortcut.{int(where[-1]) + norm}"  # behind the pooling, where there is some


MAX_WIDTH = {2: 512, 3: 128}


class ResidualEncoder:
    """Makes `ResidualLevels` as deep as the plan proposes."""

    def __init__(self, options: ResidualOptions) -> None:
        self._options = options

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> ResidualLevels:
        """The module; see `voxgraft.networks.encoder_decoder.Encoder`.

        Raises:
            ModelError: The plan's strides are not strides of levels that follow each other.
        """
        most = self._options.max_width or MAX_WIDTH[dims]
        widths = [min(most, self._options.width * 2**level) for level in range(len(strides))]
        given = self._options.blocks
        each = (given,) if isinstance(given, int) else given
        blocks = [each[min(level, len(each) - 1)] for level in range(len(strides))]
        return ResidualLevels(dims, channels, widths, strides, blocks=blocks, norm=self._options.norm)

    def weights(self, models: Models | None = None) -> Weights | None:
        from voxgraft.plugin import named_weights

        weights = named_weights(self._options.weights, models)
        return self._options.finish(None if weights is None else weights.but(tensors=own_names(weights.tensors)))


class ResidualLevels(EncoderModule):
    """One map for each level, fine to coarse; the size of a level is that of the image over its stride, rounded up.

    Args:
        widths: Channels of each level.
        strides: How much coarser than the image each level is along each axis.
        blocks: Residual blocks of each level; the first has a plain convolution in place of one.
    """

    contract = InputContract()

    def __init__(
        self,
        dims: int,
        channels: int,
        widths: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        blocks: Sequence[int],
        norm: Norm,
    ) -> None:
        super().__init__()
        self.channels = tuple(widths)
        self.strides = tuple(tuple(level) for level in strides)
        self.stages = [[f"levels.{level}"] for level in range(len(widths))]
        factors = _factors(dims, self.strides)
        first: list[nn.Module] = [conv_norm_act(dims, channels, widths[0], stride=factors[0], norm=norm)]
        first += [ResidualBlock(dims, widths[0], widths[0], norm=norm) for _ in range(blocks[0] - 1)]
        levels = [nn.Sequential(*first)]
        for inside, outside, factor, count in zip(widths, widths[1:], factors[1:], blocks[1:], strict=False):
            level = [ResidualBlock(dims, inside, outside, stride=factor, norm=norm)]
            level += [ResidualBlock(dims, outside, outside, norm=norm) for _ in range(count - 1)]
            levels.append(nn.Sequential(*level))
        self.levels = nn.ModuleList(levels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (batch, channel, *spatial), fine to coarse, from an image (batch, channel, *spatial)."""
        maps = []
        for level in self.levels:
            image = level(image)
            maps.append(image)
        return maps


class ResidualBlock(nn.Module):
    """Two convolutions and a short cut; a stride is done by the first convolution and by pooling the short cut."""

    def __init__(
        self, dims: int, inside: int, outside: int, *, stride: Sequence[int] = (), norm: Norm = "group"
    ) -> None:
        super().__init__()
        stride = tuple(stride) or (1,) * dims
        self.body = nn.Sequential(
            conv_norm_act(dims, inside, outside, stride=stride, norm=norm),
            convolution(dims, outside, outside),
            normalisation(norm, dims, outside),
        )
        self.shortcut = nn.Sequential()
        if any(step > 1 for step in stride):
            self.shortcut.append(Pool(stride))
        if inside != outside:
            self.shortcut.append(convolution(dims, inside, outside, kernel=1))
            self.shortcut.append(normalisation(norm, dims, outside))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return y


class Pool(nn.Module):
    """Average pooling over blocks of voxels; at the far ends, over those that are there."""

    def __init__(self, step: Sequence[int]) -> None:
        super().__init__()
        self.step = tuple(step)

    def forward(self, x: Tensor) -> Tensor:
        pool = functional.avg_pool2d if len(self.step) == 2 else functional.avg_pool3d
        kernel = [min(step, size) for step, size in zip(self.step, x.shape[2:], strict=True)]
        return pool(x, kernel, self.step, ceil_mode=True)


def _factors(dims: int, strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """How much coarser each level is than the one before, along each axis."""
    factors, before = [], (1,) * dims
    for level in strides:
        if len(level) != dims or any(now < 1 or now % last for now, last in zip(level, before, strict=True)):
            raise ModelError(
                f"plan: strides {[list(stride) for stride in strides]} are not levels of a {dims}D network"
            )
        factors.append(tuple(now // last for now, last in zip(level, before, strict=True)))
        before = tuple(level)
    if not factors:
        raise ModelError("plan: it proposes no levels for the network")
    return factors
