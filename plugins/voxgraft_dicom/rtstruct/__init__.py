"""Read and write structure sets of radiotherapy (RTSTRUCT): contours that planning systems draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxgraft.plugin import Trace

    from .options import RtstructOptions, RtstructReaderOptions
    from .reader import RtstructReader
    from .writer import RtstructWriter


@hookimpl
def voxgraft_writers() -> list[WriterSpec[RtstructOptions]]:
    return [
        WriterSpec(
            name="dicom-rtstruct",
            summary="RTSTRUCT with contours along the edges of voxels, holes by keyhole, read back before it counts",
            suffixes=(".rtstruct.dcm",),
            filename="rtstruct.dcm",
            needs="dicom",
            proves=True,
            dims=frozenset({3}),
            options=_options,
            build=_build,
        )
    ]


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[RtstructReaderOptions]]:
    return [
        ReaderSpec(
            name="dicom-rtstruct",
            summary="RTSTRUCT of any planning system, drawn onto its scan; the reader `dicom` finds them",
            suffixes=(),
            structures=True,
            traces=_traces,
            options=_reader_options,
            build=_build_reader,
        )
    ]


def _options() -> type[RtstructOptions]:
    from .options import RtstructOptions

    return RtstructOptions


def _build(options: RtstructOptions) -> RtstructWriter:
    from .writer import RtstructWriter

    return RtstructWriter(options)


def _reader_options() -> type[RtstructReaderOptions]:
    from .options import RtstructReaderOptions

    return RtstructReaderOptions


def _build_reader(options: RtstructReaderOptions) -> RtstructReader:
    from .reader import RtstructReader

    return RtstructReader(options)


def _traces(file: Path) -> Iterator[Trace]:
    from ..reader.traces import traces

    return traces(file)
