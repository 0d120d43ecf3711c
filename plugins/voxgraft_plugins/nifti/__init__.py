"""Read and write NIfTI-1 and NIfTI-2 files."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl, late, late_call, late_new


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[Any]]:
    return [
        ReaderSpec(
            name="nifti",
            summary="NIfTI-1, NIfTI-2 and Analyze 7.5 images of 2, 3 and 4 axes, in one file or two, gzipped or not",
            suffixes=(".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"),
            series=True,  # a header and its voxels may be two files of one folder
            magic=((344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0"), (4, b"ni2\0")),
            traces=late_call(__name__, ".traces:traces"),
            build=late_new(__name__, ".reader:NiftiReader"),
        )
    ]


@hookimpl
def voxgraft_writers() -> list[WriterSpec[Any]]:
    return [
        WriterSpec(
            name="nifti",
            summary="NIfTI-1 images and masks in the scan's own grid",
            suffixes=(".nii", ".nii.gz"),
            filename="mask.nii.gz",
            options=late(__name__, ".writer:NiftiWriterOptions"),
            build=late_call(__name__, ".writer:NiftiWriter"),
        )
    ]
