"""Decoders of segmentation_models_pytorch, as the decoder `smp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import DecoderSpec, hookimpl

if TYPE_CHECKING:
    from .config import SmpConfig
    from .decoder import SmpDecoder


@hookimpl
def voxgraft_decoders() -> list[DecoderSpec[SmpConfig]]:
    return [
        DecoderSpec(
            name="smp",
            summary="A decoder of segmentation_models_pytorch (2D)",
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[SmpConfig]:
    from .config import SmpConfig

    return SmpConfig


def _build(config: SmpConfig) -> SmpDecoder:
    from .decoder import SmpDecoder

    return SmpDecoder(config)
