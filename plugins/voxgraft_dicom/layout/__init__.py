"""The layout `dicom`: a tree of DICOM files, or what a PACS dumped, becomes a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import LayoutSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import DicomOptions


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[DicomOptions]]:
    return [
        LayoutSpec(
            name="dicom",
            summary="A tree of DICOM series, with DICOM SEG, RTSTRUCT or masks in a folder beside it",
            options=late(__name__, ".options:DicomOptions"),
            build=late_call(__name__, ".layout:DicomLayout"),
            guess=late_call(__name__, ".guess:guess"),
        )
    ]
