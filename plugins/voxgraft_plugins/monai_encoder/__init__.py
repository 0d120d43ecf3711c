"""Three-dimensional encoders of MONAI, with the names of tensors that published weights have."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import EncoderSpec, hookimpl, late, late_call

ENCODERS = [
    ("resnet3d", "ResNet3dOptions", "3D ResNet-10 to 152 of MONAI; takes MedicalNet's weights (3D)"),
    ("segresnet", "SegResNetOptions", "Encoder of MONAI's SegResNet (3D)"),
    ("swinunetr", "SwinUnetrOptions", "Encoder of MONAI's SwinUNETR; takes its self-supervised weights (3D)"),
    ("densenet3d", "DenseNet3dOptions", "3D DenseNet-121 to 264 of MONAI (3D)"),
    ("efficientnet3d", "EfficientNet3dOptions", "3D EfficientNet-B0 to B7 of MONAI (3D)"),
]
"""Name, options and summary of each encoder."""


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[Any]]:
    return [
        EncoderSpec(
            name=name,
            summary=summary,
            dims=frozenset({3}),
            options=late(__name__, f".options:{options}"),
            build=late_call(__name__, ".encoder:MonaiEncoder"),
        )
        for name, options, summary in ENCODERS
    ]
