"""Read and write NIfTI-1 and NIfTI-2 files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from .config import NiftiReaderConfig, NiftiWriterConfig
    from .reader import NiftiReader
    from .writer import NiftiWriter


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[NiftiReaderConfig]]:
    return [
        ReaderSpec(
            name="nifti",
            summary="NIfTI-1, NIfTI-2 and Analyze 7.5 images of 2, 3 and 4 axes, in one file or two, gzipped or not",
            suffixes=(".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"),
            series=True,  # a header and its voxels may be two files of one folder
            magic=((344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0"), (4, b"ni2\0")),
            config=_reader_config,
            build=_reader,
        )
    ]


@hookimpl
def voxgraft_writers() -> list[WriterSpec[NiftiWriterConfig]]:
    return [
        WriterSpec(
            name="nifti",
            summary="NIfTI-1 images and masks in the scan's own grid",
            suffixes=(".nii", ".nii.gz"),
            filename="mask.nii.gz",
            config=_writer_config,
            build=_writer,
        )
    ]


def _reader_config() -> type[NiftiReaderConfig]:
    from .config import NiftiReaderConfig

    return NiftiReaderConfig


def _reader(config: NiftiReaderConfig) -> NiftiReader:
    from .reader import NiftiReader

    return NiftiReader()


def _writer_config() -> type[NiftiWriterConfig]:
    from .config import NiftiWriterConfig

    return NiftiWriterConfig


def _writer(config: NiftiWriterConfig) -> NiftiWriter:
    from .writer import NiftiWriter

    return NiftiWriter(config)
