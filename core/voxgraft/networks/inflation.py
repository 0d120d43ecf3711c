"""Networks of slices in three dimensions: slice by slice, with neighbouring slices as channels, or inflated.

While it computes, such a network has the slices of a volume in the place of its samples. Everything that looks at one
slice at a time (norms, pooling, attention) stays as it is; only inflated convolutions put the slices together again.
So at the start an inflated network with `centre` is, slice by slice, exactly the network that it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelError

if TYPE_CHECKING:
    from .options import Inflation

SAME = "Conv2dSame"
"""timm's convolution whose padding follows the image's size, as in TensorFlow."""


class Fold:
    """Takes volumes apart into slices, and puts maps together.

    Args:
        axis: The spatial axis across the slices.
        neighbours: So many slices on each side become channels, before and behind those of the slice itself; at the
            ends of the volume the last slice stands for those that are missing.
    """

    def __init__(self, axis: int, neighbours: int = 0) -> None:
        self.axis, self.neighbours = axis, neighbours
        self.depth = 1

    def fold(self, image: Tensor) -> Tensor:
        """(batch, channel, x, y, z) becomes (batch * slice, channel, *plane)."""
        slices = image.movedim(2 + self.axis, 1)
        self.depth = slices.shape[1]
        if self.neighbours:
            indices = torch.arange(self.depth, device=image.device)
            reach = range(-self.neighbours, self.neighbours + 1)
            slices = torch.cat([slices[:, (indices + step).clamp(0, self.depth - 1)] for step in reach], 2)
        return slices.flatten(0, 1)

    def unfold(self, features: Tensor) -> Tensor:
        """(batch * slice, channel, *plane) becomes (batch, channel, x, y, z)."""
        return features.reshape(-1, self.depth, *features.shape[1:]).movedim(1, 2 + self.axis).contiguous()


class InflatedConv(nn.Conv3d):
    """A convolution over slices that were taken apart; its weight is (out, in, depth, *kernel), its depth stride 1."""

    def __init__(self, flat: nn.Conv2d, mode: Inflation, fold: Fold) -> None:
        reach = flat.kernel_size[0] // 2
        across = 0 if mode == "mean" else reach
        super().__init__(
            flat.in_channels,
            flat.out_channels,
            (flat.kernel_size[0], *flat.kernel_size),  # type: ignore[arg-type]
            (1, *flat.stride),  # type: ignore[arg-type]
            (across, *(int(n) for n in flat.padding)),  # type: ignore[arg-type]
            (1, *flat.dilation),  # type: ignore[arg-type]
            flat.groups,
            flat.bias is not None,
        )
        self._fold = fold
        self._same = type(flat).__name__ == SAME
        # Of a mean, slices beyond the ends repeat the last one: a volume of equal slices then gives equal maps.
        self._repeated = reach if mode == "mean" else 0
        with torch.no_grad():
            self.weight.copy_(inflated(flat.weight, self.kernel_size[0], mode))
            if flat.bias is not None and self.bias is not None:
                self.bias.copy_(flat.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch * slice, channel, *plane) in and out."""
        volume = x.reshape(-1, self._fold.depth, *x.shape[1:]).transpose(1, 2)
        if self._same:
            volume = functional.pad(volume, self._missing(volume))
        if self._repeated:
            volume = functional.pad(volume, (0, 0, 0, 0, self._repeated, self._repeated), mode="replicate")
        return super().forward(volume).transpose(1, 2).flatten(0, 1)

    def _missing(self, volume: Tensor) -> list[int]:
        """What SAME padding adds on both sides of each axis of the plane, the last axis first."""
        pad: list[int] = []
        for axis in (2, 1):
            size, step = volume.shape[2 + axis], self.stride[axis]
            missing = max(
                (-(-size // step) - 1) * step + (self.kernel_size[axis] - 1) * self.dilation[axis] + 1 - size, 0
            )
            pad += [missing // 2, missing - missing // 2]
        return pad


def inflate(net: nn.Module, mode: Inflation, fold: Fold, name: str) -> None:
    """Let the convolutions of a network of slices see neighbouring slices, in place.

    Convolutions of one pixel, and those whose steps do not overlap (patches), stay as they are.

    Args:
        mode: `centre`: at the start only the middle slice counts. `mean`: every slice counts alike (I3D, Carreira and
            Zisserman 2017).
        name: How messages call the network.

    Raises:
        ModelError: It has attention, or no convolution that could see neighbouring slices.
    """
    if any("Attention" in type(module).__name__ for module in net.modules()):
        raise ModelError(
            f"{name}: cannot be inflated, its attention is made for planes; use it slice by slice (`slicewise: 0`)"
        )
    layers = [
        (parent, key, child) for parent in net.modules() for key, child in parent.named_children() if _inflatable(child)
    ]
    if not layers:
        raise ModelError(f"{name}: cannot be inflated, none of its convolutions overlap; use `slicewise: 0`")
    for parent, key, child in layers:
        if type(child) is not nn.Conv2d and type(child).__name__ != SAME:
            raise ModelError(
                f"{name}: cannot be inflated, its convolutions are {type(child).__name__}; use `slicewise: 0`"
            )
        setattr(parent, key, InflatedConv(child, mode, fold))  # type: ignore[arg-type]


def inflated(weight: Tensor, depth: int, mode: Inflation) -> Tensor:
    """A weight (out, in, *kernel) with `depth` slices: (out, in, depth, *kernel).

    Args:
        weight: (out, in, *kernel), of a 2D convolution.
        depth: Slices of the result.
        mode: `mean` spreads the weight over all slices; else it stands in the middle one.
    """
    deep = weight.unsqueeze(2)
    if mode == "mean":
        return deep.expand(-1, -1, depth, -1, -1) / depth
    result = deep.new_zeros((*weight.shape[:2], depth, *weight.shape[2:]))
    result[:, :, depth // 2] = weight
    return result


def slice_axis(strides: Sequence[Sequence[int]]) -> int:
    """The axis across the slices of a plan's network: the one that it makes least coarse, the last of equal ones."""
    coarsest = list(strides[-1]) if strides else [1, 1, 1]
    return max(range(3), key=lambda axis: (-coarsest[axis], axis))


def _inflatable(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d) or isinstance(module.padding, str):
        return False
    height, width = module.kernel_size
    return height == width and height % 2 == 1 and height > max(1, *module.stride)
