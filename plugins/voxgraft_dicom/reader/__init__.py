"""Read series of DICOM images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ReaderSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import DicomOptions


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[DicomOptions]]:
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
