"""The encoder of deepbet: a 3D network pretrained on brain MRI."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import EncoderSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[Any]]:
    return [
        EncoderSpec(
            name="deepbet",
            summary="Encoder of deepbet's LinkNet, pretrained on brain MRI (3D)",
            dims=frozenset({3}),
            options=late(__name__, ".options:DeepbetOptions"),
            build=late_call(__name__, ".encoder:DeepbetEncoder"),
        )
    ]
