"""The residual encoder: as many levels as the plan proposes, in two and three dimensions."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import EncoderSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[Any]]:
    return [
        EncoderSpec(
            name="residual",
            summary="Residual encoder whose levels follow the plan (2D and 3D)",
            options=late(__name__, ".options:ResidualOptions"),
            build=late_call(__name__, ".encoder:ResidualEncoder"),
        )
    ]
