"""Merlin's encoder of CT volumes, and the modality that gives it images as it saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import EncoderSpec, ModalitySpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import MerlinOptions


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[MerlinOptions]]:
    return [
        EncoderSpec(
            name="merlin",
            summary="I3ResNet-152 of Merlin, pretrained on CT and reports (3D)",
            dims=frozenset({3}),
            modality="merlin-ct",
            spacing=(1.5, 1.5, 3.0),
            options=late(__name__, ".options:MerlinOptions"),
            build=late_call(__name__, ".encoder:MerlinEncoder"),
        )
    ]


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[Any]]:
    return [
        ModalitySpec(
            name="merlin-ct",
            summary="CT as Merlin saw it: -1000 to 1000 HU become 0 to 1",
            build=late_call(__name__, ".modality:MerlinModality"),
        )
    ]
