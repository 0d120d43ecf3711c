"""Read series of DICOM images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ReaderSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxgraft.plugin import Trace

    from .options import DicomOptions
    from .reader import DicomReader


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
            traces=_traces,
            options=_options,
            build=_build,
        )
    ]


def _options() -> type[DicomOptions]:
    from .options import DicomOptions

    return DicomOptions


def _build(options: DicomOptions) -> DicomReader:
    from .reader import DicomReader

    return DicomReader(options)


def _traces(file: Path) -> Iterator[Trace]:
    from .traces import traces

    return traces(file)
