"""Encoders of timm: families by name, any other backbone, and EfficientNet-Lite0 whose weights need no network."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import EncoderSpec, hookimpl, late, late_call

ENCODERS = [
    ("timm", "TimmOptions", "Any backbone of timm that returns feature maps"),
    ("efficientnet-lite0", "LiteOptions", "EfficientNet-Lite0, with ImageNet weights from an installed package"),
    ("efficientnet-lite1", "Lite1Options", "EfficientNet-Lite1, with ImageNet weights from an installed package"),
    ("efficientnet-lite2", "Lite2Options", "EfficientNet-Lite2, with ImageNet weights from an installed package"),
    ("resnet", "ResNetOptions", "ResNet-18 to 152"),
    ("vgg", "VggOptions", "VGG-11 to 19 with BatchNorm"),
    ("inception", "InceptionOptions", "Inception v3, v4 and Inception-ResNet v2"),
    ("densenet", "DenseNetOptions", "DenseNet-121 to 201"),
    ("efficientnet", "EfficientNetOptions", "EfficientNet-B0 to B7"),
    ("mobilenet", "MobileNetOptions", "MobileNet v2 and v3"),
    ("convnext", "ConvNeXtOptions", "ConvNeXt, atto to large"),
    ("swin", "SwinOptions", "Swin transformer"),
    ("vit", "VitOptions", "Plain vision transformer with a feature pyramid"),
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
            options=late(__name__, f".options:{options}"),
            build=late_call(__name__, ".encoder:TimmEncoder"),
        )
        for name, options, summary in ENCODERS
    ]
