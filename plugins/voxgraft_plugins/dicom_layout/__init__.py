"""The layout `dicom`: a tree of DICOM files, or what a PACS dumped, becomes a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import LayoutSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .config import DicomConfig
    from .layout import DicomLayout


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[DicomConfig]]:
    return [
        LayoutSpec(
            name="dicom",
            summary="A tree of DICOM series, with DICOM SEG, RTSTRUCT or masks in a folder beside it",
            config=_config,
            build=_build,
            guess=_guess,
        )
    ]


def _config() -> type[DicomConfig]:
    from .config import DicomConfig

    return DicomConfig


def _build(config: DicomConfig) -> DicomLayout:
    from .layout import DicomLayout

    return DicomLayout(config)


def _guess(folder: Path) -> Mapping[str, Any] | None:
    from .guess import guess

    return guess(folder)
