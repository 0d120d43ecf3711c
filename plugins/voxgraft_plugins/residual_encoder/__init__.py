"""The residual encoder: as many levels as the plan proposes, in two and three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import EncoderSpec, hookimpl

if TYPE_CHECKING:
    from .encoder import ResidualEncoder
    from .options import ResidualOptions


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[ResidualOptions]]:
    return [
        EncoderSpec(
            name="residual",
            summary="Residual encoder whose levels follow the plan (2D and 3D)",
            options=_options,
            build=_build,
        )
    ]


def _options() -> type[ResidualOptions]:
    from .options import ResidualOptions

    return ResidualOptions


def _build(options: ResidualOptions) -> ResidualEncoder:
    from .encoder import ResidualEncoder

    return ResidualEncoder(options)
