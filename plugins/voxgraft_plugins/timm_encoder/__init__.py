"""Encoders of timm: families by name, any other backbone, and EfficientNet-Lite0 whose weights need no network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from voxgraft import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .config import BackboneConfig
    from .encoder import TimmEncoder

CARDS = [
    ("timm", "TimmConfig", "Any backbone of timm that gives feature maps"),
    ("efficientnet-lite0", "LiteConfig", "EfficientNet-Lite0, with ImageNet weights from an installed package"),
    ("resnet", "ResNetConfig", "ResNet-18 to 152"),
    ("vgg", "VggConfig", "VGG-11 to 19 with BatchNorm"),
    ("inception", "InceptionConfig", "Inception v3, v4 and Inception-ResNet v2"),
    ("densenet", "DenseNetConfig", "DenseNet-121 to 201"),
    ("efficientnet", "EfficientNetConfig", "EfficientNet-B0 to B7"),
    ("mobilenet", "MobileNetConfig", "MobileNet v2 and v3"),
    ("convnext", "ConvNeXtConfig", "ConvNeXt, atto to large"),
    ("swin", "SwinConfig", "Swin transformer"),
    ("vit", "VitConfig", "Plain vision transformer with a feature pyramid"),
]
"""Name, options and summary of each encoder."""

SLICES = frozenset({"swin", "vit"})
"""Those that work slice by slice in 3D; the others are inflated."""


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[Any]]:
    return [
        EncoderSpec(
            name=name,
            summary=f"{summary} (2D; 3D {'slice by slice' if name in SLICES else 'inflated or slice by slice'})",
            config=_config(options),
            build=_build,
        )
        for name, options, summary in CARDS
    ]


def _config(options: str) -> Callable[[], type[BackboneConfig]]:
    return partial(_load, options)


def _load(options: str) -> type[BackboneConfig]:
    from . import config

    model: type[BackboneConfig] = getattr(config, options)
    return model


def _build(config: BackboneConfig) -> TimmEncoder:
    from .encoder import TimmEncoder

    return TimmEncoder(config)
