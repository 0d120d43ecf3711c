"""Maps of MONAI's networks, fine to coarse, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from monai.networks import nets
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


class ResNetWalk(nn.Module):
    """Five maps at strides 2 to 32, or 2, 4, 8, 8, 8 where it is dilated; names are MONAI's and MedicalNet's."""

    def __init__(self, layers: int, channels: int, shortcut: str, *, dilated: bool = False) -> None:
        super().__init__()
        whole: Any = getattr(nets, f"resnet{layers}")(
            spatial_dims=3,
            n_input_channels=channels,
            conv1_t_stride=2,
            shortcut_type=shortcut,
            bias_downsample=False,
            feed_forward=False,
        )
        self.conv1, self.bn1, self.act, self.maxpool = whole.conv1, whole.bn1, whole.act, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            _let_gradients_pass(layer)
        if dilated:
            _dilate(self.layer3, 2)
            _dilate(self.layer4, 4)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.act(self.bn1(self.conv1(x)))]
        x = self.maxpool(maps[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


class PaddedShortcut(nn.Module):
    """A short cut without weights: every so many voxels, and channels of zeros (He et al. 2016, option A)."""

    def __init__(self, planes: int, stride: int) -> None:
        super().__init__()
        self.planes, self.stride = planes, stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, 0, 0, self.planes - x.shape[1]))


def _let_gradients_pass(layer: nn.Module) -> None:
    """MONAI's short cuts without weights, as MedicalNet's, stop the gradient; these compute the same and do not."""
    for block in layer.children():
        if isinstance(block.downsample, partial):
            keywords = block.downsample.keywords
            del block.downsample
            block.downsample = PaddedShortcut(keywords["planes"], keywords["stride"])


def _dilate(layer: nn.Module, by: int) -> None:
    """Dilation in the place of a layer's stride, as MedicalNet has it."""
    for module in layer.modules():
        if isinstance(module, PaddedShortcut):
            module.stride = 1
        elif isinstance(module, nn.Conv3d):
            module.stride = (1, 1, 1)
            if module.kernel_size == (3, 3, 3):
                module.dilation = module.padding = (by, by, by)


class SegResNetWalk(nn.Module):
    """A map for each level at strides 1, 2, 4, ..."""

    def __init__(self, width: int, blocks: Sequence[int], channels: int) -> None:
        super().__init__()
        whole: Any = nets.SegResNet(
            spatial_dims=3,
            init_filters=width,
            in_channels=channels,
            blocks_down=tuple(blocks),
            blocks_up=(1,) * (len(blocks) - 1),
        )
        self.convInit, self.down_layers = whole.convInit, whole.down_layers  # MONAI's names

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.convInit(x)
        maps = []
        for layer in self.down_layers:
            x = layer(x)
            maps.append(x)
        return maps


class SwinWalk(nn.Module):
    """Five maps at strides 2 to 32, as SwinUNETR's own decoder takes them."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        whole: Any = nets.SwinUNETR(in_channels=channels, out_channels=1, feature_size=width, spatial_dims=3)
        self.swinViT = whole.swinViT

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.swinViT(x))


class DenseNetWalk(nn.Module):
    """Five maps at strides 2 to 32: after the stem and after each block."""

    def __init__(self, layers: int, channels: int) -> None:
        super().__init__()
        whole: Any = getattr(nets, f"DenseNet{layers}")(spatial_dims=3, in_channels=channels, out_channels=1)
        self.features = whole.features

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for name, layer in self.features.named_children():
            x = layer(x)
            if name == "relu0" or (name.startswith("denseblock") and name != "denseblock4") or name == "norm5":
                maps.append(x)
        return maps


class EfficientNetWalk(nn.Module):
    """Five maps at strides 2 to 32, without the layers behind the last."""

    def __init__(self, variant: str, channels: int) -> None:
        super().__init__()
        self.net: Any = nets.EfficientNetBNFeatures(
            f"efficientnet-{variant}", pretrained=False, spatial_dims=3, in_channels=channels
        )
        for unused in ("_conv_head_padding", "_conv_head", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            setattr(self.net, unused, nn.Identity())

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.net(x))


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
