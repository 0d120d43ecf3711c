"""Read and write masks as DICOM segmentation objects, for the PACS that the scan came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxgraft.plugin import Trace

    from .options import SegOptions, SegReaderOptions
    from .reader import SegReader
    from .writer import SegWriter


@hookimpl
def voxgraft_writers() -> list[WriterSpec[SegOptions]]:
    return [
        WriterSpec(
            name="dicom-seg",
            summary="DICOM SEG, binary and uncompressed or a label map, with coded terms, read back before it counts",
            suffixes=(".dcm",),
            filename="mask.dcm",
            needs="dicom",
            proves=True,
            options=_options,
            build=_build,
        )
    ]


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[SegReaderOptions]]:
    return [
        ReaderSpec(
            name="dicom-seg",
            summary="DICOM SEG of any maker: binary, fractional, label map; the reader `dicom` finds them",
            suffixes=(),
            structures=True,
            traces=_traces,
            options=_reader_options,
            build=_build_reader,
        )
    ]


def _options() -> type[SegOptions]:
    from .options import SegOptions

    return SegOptions


def _build(options: SegOptions) -> SegWriter:
    from .writer import SegWriter

    return SegWriter(options)


def _reader_options() -> type[SegReaderOptions]:
    from .options import SegReaderOptions

    return SegReaderOptions


def _build_reader(options: SegReaderOptions) -> SegReader:
    from .reader import SegReader

    return SegReader(options)


def _traces(file: Path) -> Iterator[Trace]:
    from ..reader.traces import traces

    return traces(file)
