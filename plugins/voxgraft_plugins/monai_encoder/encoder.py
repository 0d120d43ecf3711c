"""Maps of MONAI's networks, fine to coarse, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import (
    EncoderModule,
    InputContract,
    ModelError,
    Models,
    Weights,
    match_names,
    named_weights,
    stages_of,
)

from .options import (
    DenseNet3dOptions,
    EfficientNet3dOptions,
    MonaiOptions,
    ResNet3dOptions,
    SegResNetOptions,
    SwinUnetrOptions,
)
from .walks import DenseNetWalk, EfficientNetWalk, ResNetWalk, SegResNetWalk, SwinWalk

TRIAL = 64
"""Voxels along an edge of the image with which a network is tried."""


class MonaiEncoder:
    """Makes `MonaiMaps`."""

    def __init__(self, options: MonaiOptions) -> None:
        self._options = options

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> MonaiMaps:
        """The module; see `voxgraft.networks.encoder_decoder.Encoder`. Its strides are its own: the plan's are ignored.

        Raises:
            ModelError: A package that MONAI needs for this network is not installed.
        """
        return MonaiMaps(walk_of(self._options, channels), channels, full_resolution=self._options.full_resolution)

    def weights(self, models: Models | None = None) -> Weights | None:
        """The tensors under the names of `MonaiMaps`; files may use the names of MONAI and of MedicalNet."""
        weights = named_weights(self._options.weights, models)
        if weights is None:
            return None
        names = {_bare(name): name for name in walk_of(self._options, 1).state_dict()}
        matched = match_names(weights.tensors, names, _renamed)
        tensors = {f"net.{names.get(name, name)}": value for name, value in matched.items()}
        return self._options.finish(weights.but(tensors=tensors))


class MonaiMaps(EncoderModule):
    """The maps of a network. An image whose size is not a multiple of the coarsest stride is padded with zeros at its
    far ends, and the maps are cut again.

    Args:
        channels: Of the image.
    """

    def __init__(self, net: nn.Module, channels: int, *, full_resolution: bool) -> None:
        super().__init__()
        self.net = net
        self.net.eval()
        with torch.enable_grad():
            maps = net(torch.zeros(1, channels, TRIAL, TRIAL, TRIAL))
        self.net.train()
        self._steps = [TRIAL // feature.shape[2] for feature in maps]
        self.contract = InputContract(smallest=self._steps[-1], multiple=self._steps[-1])
        self._adds_image = full_resolution and self._steps[0] > 1
        own = [(channels, 1)] if self._adds_image else []
        self.channels = (*(width for width, _ in own), *(int(feature.shape[1]) for feature in maps))
        self.strides = tuple((step,) * 3 for step in [*(step for _, step in own), *self._steps])
        self.stages = [[f"net.{prefix}" for prefix in stage] for stage in stages_of(net, maps)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (batch, channel, x, y, z), fine to coarse; the image is (batch, channel, x, y, z)."""
        x, y, z = image.shape[2:]
        missing = [-n % self._steps[-1] for n in (x, y, z)]
        padded = functional.pad(image, (0, missing[2], 0, missing[1], 0, missing[0])) if any(missing) else image
        maps: list[Tensor] = list(self.net(padded))
        if any(missing):
            maps = [
                feature[:, :, : -(-x // step), : -(-y // step), : -(-z // step)]
                for feature, step in zip(maps, self._steps, strict=True)
            ]
        return [image, *maps] if self._adds_image else maps


def walk_of(options: MonaiOptions, channels: int) -> nn.Module:
    """The encoder's part of a network of MONAI, under MONAI's names, with freshly drawn weights.

    Raises:
        ModelError: A package that MONAI needs for it is not installed.
    """
    if isinstance(options, ResNet3dOptions):
        shortcut = options.shortcut
        if shortcut == "auto":
            shortcut = "A" if options.variant in (18, 34) else "B"
        return ResNetWalk(options.variant, channels, shortcut, dilated=options.dilated)
    if isinstance(options, SegResNetOptions):
        return SegResNetWalk(options.width, options.blocks, channels)
    if isinstance(options, DenseNet3dOptions):
        return DenseNetWalk(options.variant, channels)
    if isinstance(options, EfficientNet3dOptions):
        return EfficientNetWalk(options.variant, channels)
    assert isinstance(options, SwinUnetrOptions)
    if find_spec("einops") is None:
        raise ModelError("the encoder 'swinunetr' needs the package einops: pip install 'voxgraft[swin]'")
    return SwinWalk(options.width, channels)


def _bare(name: str) -> str:
    """A tensor's name in the network that a walk goes through."""
    return name.removeprefix("swinViT.").removeprefix("net.")


def _renamed(name: str) -> str:
    """MONAI's name of a tensor of SwinUNETR's self-supervised weights, whose makers called two layers otherwise."""
    return name.replace(".mlp.fc1.", ".mlp.linear1.").replace(".mlp.fc2.", ".mlp.linear2.")
