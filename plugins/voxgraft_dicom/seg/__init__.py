"""Read and write masks as DICOM segmentation objects, for the PACS that the scan came from."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_writers() -> list[WriterSpec[Any]]:
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
def voxgraft_readers() -> list[ReaderSpec[Any]]:
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
