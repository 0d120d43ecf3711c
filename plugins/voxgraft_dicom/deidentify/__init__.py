"""Take what identifies a patient out of DICOM files, by the basic confidentiality profile (PS3.15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import CommandSpec, hookimpl

if TYPE_CHECKING:
    from click import Command


@hookimpl
def voxgraft_commands() -> list[CommandSpec[Any]]:
    return [
        CommandSpec(
            name="deidentify",
            summary="De-identify a DICOM tree.",
            build=_deidentify,
        )
    ]


def _deidentify(options: Any) -> Command:
    from .command import deidentify

    return deidentify
