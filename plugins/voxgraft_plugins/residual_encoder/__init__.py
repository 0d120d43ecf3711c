"""The residual encoder: as many levels as the plan proposes, in two and three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .config import ResidualConfig
    from .encoder import ResidualEncoder


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[ResidualConfig]]:
    return [
        EncoderSpec(
            name="residual",
            summary="Residual encoder whose levels follow the plan (2D and 3D)",
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[ResidualConfig]:
    from .config import ResidualConfig

    return ResidualConfig


def _build(config: ResidualConfig) -> ResidualEncoder:
    from .encoder import ResidualEncoder

    return ResidualEncoder(config)
