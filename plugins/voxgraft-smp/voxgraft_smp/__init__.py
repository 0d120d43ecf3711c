"""Decoders of segmentation_models_pytorch, as the decoder `smp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import DecoderSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import SmpOptions


@hookimpl
def voxgraft_decoders() -> list[DecoderSpec[SmpOptions]]:
    return [
        DecoderSpec(
            name="smp",
            summary="A decoder of segmentation_models_pytorch (2D)",
            options=late(__name__, ".options:SmpOptions"),
            build=late_call(__name__, ".decoder:SmpDecoder"),
        )
    ]
