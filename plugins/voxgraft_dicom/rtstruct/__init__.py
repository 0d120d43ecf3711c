"""Read and write structure sets of radiotherapy (RTSTRUCT): contours that planning systems draw."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_writers() -> list[WriterSpec[Any]]:
    return [
        WriterSpec(
            name="dicom-rtstruct",
            summary="RTSTRUCT with contours along the edges of voxels, holes by keyhole, verified by reading it back",
            suffixes=(".rtstruct.dcm",),
            filename="rtstruct.dcm",
            needs="dicom",
            proves=True,
            dims=frozenset({3}),
            options=late(__name__, ".options:RtstructOptions"),
            build=late_call(__name__, ".writer:RtstructWriter"),
        )
    ]


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[Any]]:
    return [
        ReaderSpec(
            name="dicom-rtstruct",
            summary="RTSTRUCT of any planning system, drawn onto its scan; used by the reader `dicom`",
            suffixes=(),
            structures=True,
            traces=late_call(__name__, "..reader.traces:traces"),
            options=late(__name__, ".options:RtstructReaderOptions"),
            build=late_call(__name__, ".reader:RtstructReader"),
        )
    ]
