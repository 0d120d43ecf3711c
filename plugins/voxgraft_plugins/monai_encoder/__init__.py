"""Three-dimensional encoders of MONAI, with the names of tensors that published weights have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from voxgraft import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .config import MonaiConfig
    from .encoder import MonaiEncoder

CARDS = [
    ("resnet3d", "ResNet3dConfig", "3D ResNet-10 to 152 of MONAI; takes MedicalNet's weights (3D)"),
    ("segresnet", "SegResNetConfig", "Encoder of MONAI's SegResNet (3D)"),
    ("swinunetr", "SwinUnetrConfig", "Encoder of MONAI's SwinUNETR; takes its self-supervised weights (3D)"),
    ("densenet3d", "DenseNet3dConfig", "3D DenseNet-121 to 264 of MONAI (3D)"),
    ("efficientnet3d", "EfficientNet3dConfig", "3D EfficientNet-B0 to B7 of MONAI (3D)"),
]
"""Name, options and summary of each encoder."""


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[Any]]:
    return [
        EncoderSpec(name=name, summary=summary, dims=frozenset({3}), config=_config(options), build=_build)
        for name, options, summary in CARDS
    ]


def _config(options: str) -> Callable[[], type[MonaiConfig]]:
    return partial(_load, options)


def _load(options: str) -> type[MonaiConfig]:
    from . import config

    model: type[MonaiConfig] = getattr(config, options)
    return model


def _build(config: MonaiConfig) -> MonaiEncoder:
    from .encoder import MonaiEncoder

    return MonaiEncoder(config)
