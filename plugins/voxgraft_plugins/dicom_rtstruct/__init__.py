"""Read and write structure sets of radiotherapy (RTSTRUCT): contours that planning systems draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from .config import RtstructConfig, RtstructReaderConfig
    from .reader import RtstructReader
    from .writer import RtstructWriter


@hookimpl
def voxgraft_writers() -> list[WriterSpec[RtstructConfig]]:
    return [
        WriterSpec(
            name="dicom-rtstruct",
            summary="RTSTRUCT with contours along the edges of voxels, holes by keyhole, read back before it counts",
            suffixes=(".rtstruct.dcm",),
            filename="rtstruct.dcm",
            needs="dicom",
            proves=True,
            dims=frozenset({3}),
            config=_config,
            build=_build,
        )
    ]


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[RtstructReaderConfig]]:
    return [
        ReaderSpec(
            name="dicom-rtstruct",
            summary="RTSTRUCT of any planning system, drawn onto its scan; the reader `dicom` finds them",
            suffixes=(),
            structures=True,
            config=_reader_config,
            build=_build_reader,
        )
    ]


def _config() -> type[RtstructConfig]:
    from .config import RtstructConfig

    return RtstructConfig


def _build(config: RtstructConfig) -> RtstructWriter:
    from .writer import RtstructWriter

    return RtstructWriter(config)


def _reader_config() -> type[RtstructReaderConfig]:
    from .config import RtstructReaderConfig

    return RtstructReaderConfig


def _build_reader(config: RtstructReaderConfig) -> RtstructReader:
    from .reader import RtstructReader

    return RtstructReader(config)
