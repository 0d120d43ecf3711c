"""The encoders inside networks of MONAI: their layers under MONAI's names, walked through map by map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from monai.networks import nets
from torch import Tensor, nn
from torch.nn import functional


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
