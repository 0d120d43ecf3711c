"""The layout `dicom`: a tree of DICOM files, or what a PACS dumped, becomes a data set."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import LayoutSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(
            name="dicom",
            summary="A tree of DICOM series, with DICOM SEG, RTSTRUCT or masks in a folder beside it",
            options=late(__name__, ".options:DicomOptions"),
            build=late_call(__name__, ".layout:DicomLayout"),
            guess=late_call(__name__, ".guess:guess"),
        )
    ]
