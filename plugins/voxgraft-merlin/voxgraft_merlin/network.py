"""Merlin's image encoder, a ResNet-152 inflated to volumes (Blankemeier et al., arXiv 2406.06512).

Names of parameters and strides are those of the published weights. Inside axes run (z, x, y), as in the original; maps
come back as (x, y, z). A volume of one channel goes into a first convolution of one: pretrained kernels of three equal
channels are summed when they are loaded, which is what copying the channel gives.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from voxgraft.plugin import EncoderModule, InputContract

BLOCKS, PLANES = (3, 8, 36, 3), (64, 128, 256, 512)
STRIDES = ((2, 2, 1), (4, 4, 2), (8, 8, 4), (16, 16, 8), (32, 32, 16))
INSIDE, BACK = (0, 1, 4, 2, 3), (0, 1, 3, 4, 2)
"""From (batch, channel, x, y, z) to (batch, channel, z, x, y), and back."""


class I3ResNet(EncoderModule):
    """Maps of 64, 256, 512, 1024 and 2048 channels at strides 2 to 32; along z at half of that.

    Args:
        channels: Of the image, in Merlin's units: 0 is -1000 HU and less, 1 is 1000 HU and more.
        levels: How many of the maps are made; what only deeper ones need is left out.
        full_resolution: The image itself stands before them.
    """

    contract = InputContract(mean=(0.0,), std=(1.0,), channels=3)

    def __init__(self, channels: int, levels: int = 5, *, full_resolution: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.pool = nn.MaxPool3d(3, stride=2, padding=1)
        self._layers = [f"layer{level}" for level in range(1, levels)]
        inside = 64
        for level, name in enumerate(self._layers):
            self.add_module(name, nn.Sequential(*_blocks(inside, PLANES[level], BLOCKS[level], 1 + (level > 0))))
            inside = 4 * PLANES[level]
        own = [(channels, (1, 1, 1))] if full_resolution else []
        widths = (64, *(4 * planes for planes in PLANES))
        self._adds_image = full_resolution
        self.channels = (*(width for width, _ in own), *widths[:levels])
        self.strides = (*(stride for _, stride in own), *STRIDES[:levels])
        self.stages = [["conv1", "bn1"], *([name] for name in self._layers)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (batch, channel, x, y, z), fine to coarse; the image is (batch, channel, x, y, z)."""
        x = torch.relu(self.bn1(self.conv1(image.permute(INSIDE))))
        maps = [x]
        x = self.pool(x) if self._layers else x
        for name in self._layers:
            x = self.get_submodule(name)(x)
            maps.append(x)
        found = [one.permute(BACK).contiguous() for one in maps]
        return [image, *found] if self._adds_image else found


class Bottleneck(nn.Module):
    """1, 3 and 1 voxels wide convolutions and a short cut; the middle one does the stride."""

    def __init__(self, inside: int, planes: int, stride: int, *, first: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(inside, planes, 1, bias=False), nn.BatchNorm3d(planes)
        self.conv2, self.bn2 = nn.Conv3d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm3d(planes)
        self.conv3, self.bn3 = nn.Conv3d(planes, 4 * planes, 1, bias=False), nn.BatchNorm3d(4 * planes)
        self.downsample = nn.Sequential()
        if first:
            short = nn.Conv3d(inside, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm3d(4 * planes))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _blocks(inside: int, planes: int, number: int, stride: int) -> Iterator[Bottleneck]:
    yield Bottleneck(inside, planes, stride, first=True)
    for _ in range(number - 1):
        yield Bottleneck(4 * planes, planes, 1, first=False)
