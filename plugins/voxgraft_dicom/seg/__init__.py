"""Read and write masks as DICOM segmentation objects, for the PACS that the scan came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import SegOptions, SegReaderOptions


@hookimpl
def voxgraft_writers() -> list[WriterSpec[SegOptions]]:
    return [
        WriterSpec(
            name="dicom-seg",
            summary="DICOM SEG, binary and uncompressed or a label map, with coded terms, verified by reading it back",
            suffixes=(".dcm",),
            filename="mask.dcm",
            needs="dicom",
            proves=True,
            options=late(__name__, ".options:SegOptions"),
            build=late_call(__name__, ".writer:SegWriter"),
        )
    ]


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[SegReaderOptions]]:
    return [
        ReaderSpec(
            name="dicom-seg",
            summary="DICOM SEG of any maker: binary, fractional, label map; used by the reader `dicom`",
            suffixes=(),
            structures=True,
            traces=late_call(__name__, "..reader.traces:traces"),
            options=late(__name__, ".options:SegReaderOptions"),
            build=late_call(__name__, ".reader:SegReader"),
        )
    ]
