"""The residual encoder: as many levels as the plan proposes, in two and three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import EncoderSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import ResidualOptions


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[ResidualOptions]]:
    return [
        EncoderSpec(
            name="residual",
            summary="Residual encoder whose levels follow the plan (2D and 3D)",
            options=late(__name__, ".options:ResidualOptions"),
            build=late_call(__name__, ".encoder:ResidualEncoder"),
        )
    ]
