"""Read series of DICOM images."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ReaderSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[Any]]:
    return [
        ReaderSpec(
            name="dicom",
            summary="DICOM images, classic and enhanced, sorted and checked strictly",
            suffixes=(".dcm", ".dicom", ".ima"),
            magic=((128, b"DICM"),),
            by_content=True,
            series=True,
            traces=late_call(__name__, ".traces:traces"),
            options=late(__name__, ".options:DicomOptions"),
            build=late_call(__name__, ".reader:DicomReader"),
        )
    ]
