"""Decoders of segmentation_models_pytorch, as the decoder `smp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import DecoderSpec, hookimpl

if TYPE_CHECKING:
    from .decoder import SmpDecoder
    from .options import SmpOptions


@hookimpl
def voxgraft_decoders() -> list[DecoderSpec[SmpOptions]]:
    return [
        DecoderSpec(
            name="smp",
            summary="A decoder of segmentation_models_pytorch (2D)",
            options=_options,
            build=_build,
        )
    ]


def _options() -> type[SmpOptions]:
    from .options import SmpOptions

    return SmpOptions


def _build(options: SmpOptions) -> SmpDecoder:
    from .decoder import SmpDecoder

    return SmpDecoder(options)
