"""The encoder of deepbet: a 3D network pretrained on brain MRI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .config import DeepbetConfig
    from .encoder import DeepbetEncoder


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[DeepbetConfig]]:
    return [
        EncoderSpec(
            name="deepbet",
            summary="Encoder of deepbet's LinkNet, pretrained on brain MRI (3D)",
            dims=frozenset({3}),
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[DeepbetConfig]:
    from .config import DeepbetConfig

    return DeepbetConfig


def _build(config: DeepbetConfig) -> DeepbetEncoder:
    from .encoder import DeepbetEncoder

    return DeepbetEncoder(config)
