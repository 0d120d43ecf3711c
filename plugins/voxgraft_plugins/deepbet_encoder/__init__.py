"""The encoder of deepbet: a 3D network pretrained on brain MRI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .encoder import DeepbetEncoder
    from .options import DeepbetOptions


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[DeepbetOptions]]:
    return [
        EncoderSpec(
            name="deepbet",
            summary="Encoder of deepbet's LinkNet, pretrained on brain MRI (3D)",
            dims=frozenset({3}),
            options=_options,
            build=_build,
        )
    ]


def _options() -> type[DeepbetOptions]:
    from .options import DeepbetOptions

    return DeepbetOptions


def _build(options: DeepbetOptions) -> DeepbetEncoder:
    from .encoder import DeepbetEncoder

    return DeepbetEncoder(options)
