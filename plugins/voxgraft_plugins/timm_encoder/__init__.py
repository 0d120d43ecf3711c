"""Encoders of timm: any two-dimensional backbone, and EfficientNet-Lite0 with ImageNet weights that need no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .config import LiteConfig, TimmConfig
    from .encoder import TimmEncoder


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[Any]]:
    return [
        EncoderSpec(
            name="timm",
            summary="Any backbone of timm that gives maps at several resolutions (2D)",
            dims=frozenset({2}),
            config=_config,
            build=_build,
        ),
        EncoderSpec(
            name="efficientnet-lite0",
            summary="EfficientNet-Lite0, with ImageNet weights from an installed package (2D)",
            dims=frozenset({2}),
            config=_lite_config,
            build=_build,
        ),
    ]


def _config() -> type[TimmConfig]:
    from .config import TimmConfig

    return TimmConfig


def _lite_config() -> type[LiteConfig]:
    from .config import LiteConfig

    return LiteConfig


def _build(config: LiteConfig) -> TimmEncoder:
    from .encoder import TimmEncoder

    return TimmEncoder(config)
