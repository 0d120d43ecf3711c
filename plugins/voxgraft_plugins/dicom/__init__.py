"""Read series of DICOM images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import ReaderSpec, hookimpl

if TYPE_CHECKING:
    from .config import DicomConfig
    from .reader import DicomReader


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[DicomConfig]]:
    return [
        ReaderSpec(
            name="dicom",
            summary="DICOM images, classic and enhanced, sorted and checked strictly",
            suffixes=(".dcm", ".dicom", ".ima"),
            magic=((128, b"DICM"),),
            by_content=True,
            series=True,
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[DicomConfig]:
    from .config import DicomConfig

    return DicomConfig


def _build(config: DicomConfig) -> DicomReader:
    from .reader import DicomReader

    return DicomReader(config)
