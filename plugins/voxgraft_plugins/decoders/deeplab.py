"""DeepLabV3 (Chen et al. 2017) and DeepLabV3+ (Chen et al. 2018): dilated convolutions of several reaches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import SLOPE, DecoderModule, Norm, conv_norm_act, convolution, normalisation

from .options import DeepLabV3Options, DeepLabV3PlusOptions
from .parts import check_maps, enlarged, flat_width, pointwise_block, ratio

PAPER_STRIDE = 16
"""The stride to which the paper's rates belong."""


class DeepLabV3Decoder(DecoderModule):
    """One decoded map: pooled at several reaches, and in DeepLabV3+ joined with a finer map, which gives detail.

    The paper keeps the encoder at the output stride by dilating it. Here encoders stay as they were pretrained: the
    map of that stride stands beside the enlarged coarser ones.
    """

    name = "deeplabv3"

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: DeepLabV3Options
    ) -> None:
        super().__init__()
        width, norm = flat_width(dims, options), options.norm
        low = _coarsest_within(strides, options.low_stride) if isinstance(options, DeepLabV3PlusOptions) else None
        deep = max(_coarsest_within(strides, options.output_stride), low or 0)
        rates = [[rate * PAPER_STRIDE / step for step in strides[deep]] for rate in options.rates]
        self.channels = (width,)
        self._maps, self._deep, self._low = len(channels), deep, low
        self.reads = tuple(sorted({*range(deep, len(channels)), *([] if low is None else [low])}))
        self._joined = [ratio(strides[deep], stride) for stride in strides[deep:]]
        self._to_detail = ratio(strides[low or 0], strides[deep])
        self._last = ratio(strides[0], strides[low or 0])
        self.pooling = SpatialPyramidPooling(dims, sum(channels[deep:]), width, rates, norm=norm)
        if low is not None:
            few = max(8, width // 4 // 8 * 8)
            self.detail = pointwise_block(dims, channels[low], few, norm=norm)
            self.refine = nn.Sequential(
                conv_norm_act(dims, width + few, width, norm=norm), conv_norm_act(dims, width, width, norm=norm)
            )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps(self.name, maps, self._maps)
        size = maps[self._deep].shape[2:]
        joined = [enlarged(x, size, by) for x, by in zip(maps[self._deep :], self._joined, strict=True)]
        x: Tensor = self.pooling(torch.cat(joined, 1))
        x = enlarged(x, maps[self._low or 0].shape[2:], self._to_detail)
        if self._low is not None:
            x = self.refine(torch.cat([x, self.detail(maps[self._low])], 1))
        return [enlarged(x, maps[0].shape[2:], self._last)]


class DeepLabV3PlusDecoder(DeepLabV3Decoder):
    """The same with detail; its options say from which map."""

    name = "deeplabv3plus"


class SpatialPyramidPooling(nn.Module):
    """A 1x1 convolution, dilated 3x3 convolutions, and the mean of the whole map, beside each other, then mixed (ASPP).

    Args:
        rates: The dilations along each axis, before they are fitted to a map.
    """

    def __init__(self, dims: int, inside: int, width: int, rates: Sequence[Sequence[float]], *, norm: Norm) -> None:
        super().__init__()
        self.point = pointwise_block(dims, inside, width, norm=norm)
        self.rates = [tuple(rate) for rate in rates]
        self.dilated = nn.ModuleList(convolution(dims, inside, width) for _ in rates)
        self.norms = nn.ModuleList(
            nn.Sequential(normalisation(norm, dims, width), nn.LeakyReLU(SLOPE, inplace=True)) for _ in rates
        )
        # A mean is one voxel: norms over voxels would leave nothing of it, whatever it is.
        self.mean = pointwise_block(dims, inside, width, norm="group")
        self.mix = pointwise_block(dims, width * (len(rates) + 2), width, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """A map (batch, width, *spatial) of the size of x."""
        apply = functional.conv2d if x.ndim == 4 else functional.conv3d
        found = [self.point(x)]
        for part, norm, rate in zip(self.dilated, self.norms, fitted(self.rates, x.shape[2:]), strict=True):
            found.append(norm(apply(x, part.weight, padding=rate, dilation=rate)))  # type: ignore[arg-type]
        mean = self.mean(x.mean(tuple(range(2, x.ndim)), keepdim=True))
        y: Tensor = self.mix(torch.cat([*found, mean.expand(-1, -1, *x.shape[2:])], 1))
        return y


def fitted(rates: Sequence[Sequence[float]], size: Sequence[int]) -> list[tuple[int, ...]]:
    """Dilations for a map of that size.

    Along an axis where the greatest would put a kernel's ends outside the map wherever it stands in the middle, all are
    made smaller in proportion: outside there is nothing to see, and rates that differ should still differ.
    """
    shrink = []
    for axis, voxels in enumerate(size):
        most = max(rate[axis] for rate in rates)
        shrink.append(min(1.0, max(1, (voxels - 1) // 2) / most))
    return [tuple(max(1, round(value * by)) for value, by in zip(rate, shrink, strict=True)) for rate in rates]


def _coarsest_within(strides: Sequence[Sequence[int]], limit: int) -> int:
    """The coarsest level of at most that stride along every axis; the finest, where all are coarser."""
    return max((level for level, stride in enumerate(strides) if max(stride) <= limit), default=0)
