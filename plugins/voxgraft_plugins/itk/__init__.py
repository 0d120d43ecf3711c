"""Read and write the formats of ITK's world: NRRD (3D Slicer's segmentations too), MetaImage, MINC."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl, late, late_call, late_new


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[Any]]:
    return [
        ReaderSpec(
            name="nrrd",
            summary="NRRD images and the segmentations of 3D Slicer, header and voxels in one file or two",
            suffixes=(".nrrd", ".nhdr"),
            magic=((0, b"NRRD000"),),
            traces=late_call(__name__, ".traces:traces"),
            build=late_new(__name__, ".nrrd:nrrd_reader"),
        ),
        ReaderSpec(
            name="metaimage",
            summary="MetaImage, header and voxels in one file or two",
            suffixes=(".mha", ".mhd"),
            traces=late_call(__name__, ".traces:traces"),
            build=late_new(__name__, ".metaimage:metaimage_reader"),
        ),
        ReaderSpec(
            name="minc",
            summary="MINC 2 volumes, through SimpleITK",
            suffixes=(".mnc",),
            build=late_new(__name__, ".minc:MincReader"),
        ),
    ]


@hookimpl
def voxgraft_writers() -> list[WriterSpec[Any]]:
    return [
        WriterSpec(
            name="nrrd",
            summary="NRRD, compressed; masks with the names of their structures, as 3D Slicer reads them",
            suffixes=(".nrrd",),
            filename="mask.seg.nrrd",
            options=late(__name__, ".writer:ItkWriterOptions"),
            build=late_call(__name__, ".writer:NrrdWriter"),
        ),
        WriterSpec(
            name="metaimage",
            summary="MetaImage, compressed, in one file",
            suffixes=(".mha",),
            filename="mask.mha",
            options=late(__name__, ".writer:ItkWriterOptions"),
            build=late_call(__name__, ".writer:MetaImageWriter"),
        ),
    ]
