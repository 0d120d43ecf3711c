"""The layout `dicom`: a tree of DICOM files, or what a PACS dumped, becomes a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import LayoutSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .layout import DicomLayout
    from .options import DicomOptions


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[DicomOptions]]:
    return [
        LayoutSpec(
            name="dicom",
            summary="A tree of DICOM series, with DICOM SEG, RTSTRUCT or masks in a folder beside it",
            options=_options,
            build=_build,
            guess=_guess,
        )
    ]


def _options() -> type[DicomOptions]:
    from .options import DicomOptions

    return DicomOptions


def _build(options: DicomOptions) -> DicomLayout:
    from .layout import DicomLayout

    return DicomLayout(options)


def _guess(folder: Path) -> Mapping[str, Any] | None:
    from .guess import guess

    return guess(folder)
