"""The U-Net decoder, over any encoder in two and three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import DecoderSpec, hookimpl

if TYPE_CHECKING:
    from .config import UNetConfig
    from .decoder import UNetDecoder


@hookimpl
def voxgraft_decoders() -> list[DecoderSpec[UNetConfig]]:
    return [
        DecoderSpec(
            name="unet",
            summary="U-Net decoder: upsample, concatenate, convolve (2D and 3D)",
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[UNetConfig]:
    from .config import UNetConfig

    return UNetConfig


def _build(config: UNetConfig) -> UNetDecoder:
    from .decoder import UNetDecoder

    return UNetDecoder(config)
