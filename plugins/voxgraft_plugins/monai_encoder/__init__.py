"""Three-dimensional encoders of MONAI, with the names of tensors that published weights have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from voxgraft.plugin import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .encoder import MonaiEncoder
    from .options import MonaiOptions

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
        EncoderSpec(name=name, summary=summary, dims=frozenset({3}), options=_options(options), build=_build)
        for name, options, summary in ENCODERS
    ]


def _options(model: str) -> Callable[[], type[MonaiOptions]]:
    return partial(_load, model)


def _load(name: str) -> type[MonaiOptions]:
    from . import options

    model: type[MonaiOptions] = getattr(options, name)
    return model


def _build(options: MonaiOptions) -> MonaiEncoder:
    from .encoder import MonaiEncoder

    return MonaiEncoder(options)
