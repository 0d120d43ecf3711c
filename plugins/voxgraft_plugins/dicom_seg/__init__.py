"""Read and write masks as DICOM segmentation objects, for the PACS that the scan came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from .config import SegConfig, SegReaderConfig
    from .reader import SegReader
    from .writer import SegWriter


@hookimpl
def voxgraft_writers() -> list[WriterSpec[SegConfig]]:
    return [
        WriterSpec(
            name="dicom-seg",
            summary="DICOM SEG, binary and uncompressed or a label map, with coded terms, read back before it counts",
            suffixes=(".dcm",),
            filename="mask.dcm",
            needs="dicom",
            proves=True,
            config=_config,
            build=_build,
        )
    ]


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[SegReaderConfig]]:
    return [
        ReaderSpec(
            name="dicom-seg",
            summary="DICOM SEG of any maker: binary, fractional, label map; the reader `dicom` finds them",
            suffixes=(),
            structures=True,
            config=_reader_config,
            build=_build_reader,
        )
    ]


def _config() -> type[SegConfig]:
    from .config import SegConfig

    return SegConfig


def _build(config: SegConfig) -> SegWriter:
    from .writer import SegWriter

    return SegWriter(config)


def _reader_config() -> type[SegReaderConfig]:
    from .config import SegReaderConfig

    return SegReaderConfig


def _build_reader(config: SegReaderConfig) -> SegReader:
    from .reader import SegReader

    return SegReader(config)
