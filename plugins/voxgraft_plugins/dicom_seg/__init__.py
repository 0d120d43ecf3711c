"""Write masks as DICOM segmentation objects, for the PACS that the scan came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import WriterSpec, hookimpl

if TYPE_CHECKING:
    from .config import SegConfig
    from .writer import SegWriter


@hookimpl
def voxgraft_writers() -> list[WriterSpec[SegConfig]]:
    return [
        WriterSpec(
            name="dicom-seg",
            summary="DICOM SEG, binary and uncompressed, with coded terms, read back before it counts",
            suffixes=(".dcm",),
            filename="mask.dcm",
            needs="dicom",
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[SegConfig]:
    from .config import SegConfig

    return SegConfig


def _build(config: SegConfig) -> SegWriter:
    from .writer import SegWriter

    return SegWriter(config)
