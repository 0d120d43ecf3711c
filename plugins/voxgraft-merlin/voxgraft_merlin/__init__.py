"""Merlin's encoder of CT volumes, and the modality that gives it images as it saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import EncoderSpec, ModalitySpec, hookimpl

if TYPE_CHECKING:
    from .encoder import MerlinEncoder
    from .options import MerlinOptions


@hookimpl
def voxgraft_encoders() -> list[EncoderSpec[MerlinOptions]]:
    def options() -> type[MerlinOptions]:
        from .options import MerlinOptions

        return MerlinOptions

    def build(options: MerlinOptions) -> MerlinEncoder:
        from .encoder import MerlinEncoder

        return MerlinEncoder(options)

    summary = "I3ResNet-152 of Merlin, pretrained on CT and reports (3D)"
    seen: dict[str, Any] = {"dims": frozenset({3}), "modality": "merlin-ct", "spacing": (1.5, 1.5, 3.0)}
    return [EncoderSpec(name="merlin", summary=summary, options=options, build=build, **seen)]


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[Any]]:
    def build(options: Any) -> Any:
        from .modality import MerlinModality

        return MerlinModality()

    return [ModalitySpec(name="merlin-ct", summary="CT as Merlin saw it: -1000 to 1000 HU become 0 to 1", build=build)]
