"""The encoder of deepbet's LinkNet3d (Fisch et al. 2024): a ResNet-18 in three dimensions, 16 to 128 channels wide.

Its norm is InstanceNorm without parameters, so all that is pretrained is convolutions. Images come with zero mean and
unit deviation and are brought into deepbet's own units here, so that the zeros that convolutions pad with mean what
they meant there: the maps are then bit-equal to those inside deepbet's own network.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from voxgraft.plugin import EncoderModule, InputContract, Models, Weights, check_sha256, named_weights, packaged_file

from .options import DeepbetOptions

PACKAGE = "deepbet"
FILE = "data/models/model.pt"
SHA256 = "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd"
LICENCE = "MIT"


def bundled_weights() -> Weights:
    """The tensors under deepbet's own names, which are those of `LinkNetMaps`.

    Raises:
        ModelError: The package is not installed, or its file is not the known one.
    """
    import torch

    path, version = packaged_file(PACKAGE, FILE, install="voxgraft[demo]")
    known = check_sha256(path, SHA256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        archive = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        tensors = dict(archive.state_dict())
    return Weights(
        tensors,
        origin=f"{PACKAGE} {version}",
        licence=LICENCE,
        sha256=known,
        contract=InputContract(channels=1, seen="T1-weighted MR images of heads of healthy adults"),
    )


WIDTHS = (16, 16, 32, 64, 128)
STRIDES = (2, 4, 8, 16, 32)
EPSILON = 1e-5
MEAN, DEVIATION = 0.449, 0.226
"""deepbet sees brightness itself: images of zero mean and unit deviation get this mean and this deviation first."""


class DeepbetEncoder:
    """Makes `LinkNetMaps`."""

    def __init__(self, options: DeepbetOptions) -> None:
        self._options = options

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> LinkNetMaps:
        """The module; see `voxgraft.networks.encoder_decoder.Encoder`.

        Its strides are its own: the plan's are ignored.
        """
        return LinkNetMaps(channels, self._options.levels, full_resolution=self._options.full_resolution)

    def weights(self, models: Models | None = None) -> Weights | None:
        if self._options.weights == "bundled":
            return self._options.finish(bundled_weights())
        return self._options.finish(named_weights(self._options.weights, models))


class LinkNetMaps(EncoderModule):
    """Maps of 16, 16, 32, 64 and 128 channels at strides 2 to 32, under deepbet's own parameter names.

    Args:
        channels: Of the image.
        levels: How many of the maps are made.
        full_resolution: The image itself stands before them.
    """

    contract = InputContract(mean=(0.0,), std=(1.0,), channels=1)

    def __init__(self, channels: int, levels: int = 5, *, full_resolution: bool = False) -> None:
        super().__init__()
        self.init = nn.Sequential(
            nn.Conv3d(channels, WIDTHS[0], 7, stride=2, padding=3, bias=False),
            InstanceNorm(),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool3d(3, stride=2, padding=1)
        self._downs = [f"down{level}" for level in range(levels - 1)]
        for name, inside, outside in zip(self._downs, WIDTHS, WIDTHS[1:], strict=False):
            self.add_module(name, Down(inside, outside, stride=1 if name == "down0" else 2))
        self._adds_image = full_resolution
        own = [(channels, 1)] if full_resolution else []
        self.channels = tuple(width for width, _ in own) + WIDTHS[:levels]
        self.strides = tuple((step,) * 3 for step in [step for _, step in own] + list(STRIDES[:levels]))
        self.stages = [["init"], *([name] for name in self._downs)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (batch, channel, x, y, z), fine to coarse; the image is (batch, channel, x, y, z)."""
        maps = [image] if self._adds_image else []
        maps.append(self.init(image * DEVIATION + MEAN))
        x = self.pool(maps[-1]) if self._downs else maps[-1]
        for name in self._downs:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps


class Down(nn.Module):
    """Two residual blocks; the first does the stride."""

    def __init__(self, inside: int, outside: int, *, stride: int) -> None:
        super().__init__()
        self.block1 = Block(inside, outside, stride=stride)
        self.block2 = Block(outside, outside, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block2(self.block1(x))
        return y


class Block(nn.Module):
    """Two convolutions and a short cut."""

    def __init__(self, inside: int, outside: int, *, stride: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv3d(inside, outside, 3, stride=stride, padding=1, bias=False),
            InstanceNorm(),
            nn.ReLU(inplace=True),
            nn.Conv3d(outside, outside, 3, padding=1, bias=False),
            InstanceNorm(),
        )
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv3d(inside, outside, 1, stride=stride, bias=False),
                InstanceNorm(),
            )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.double_conv(x) + self.downsample(x))
        return y


class InstanceNorm(nn.Module):
    """Zero mean and unit variance for each sample and channel, without parameters.

    A map of one voxel becomes zero; torch's own module refuses it, and small images do shrink to one voxel here.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.instance_norm(
            x, None, None, None, None, use_input_stats=True, momentum=0.0, eps=EPSILON, cudnn_enabled=True
        )
