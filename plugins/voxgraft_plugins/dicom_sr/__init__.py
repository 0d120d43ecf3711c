"""Write what was measured in a mask as a DICOM structured report (TID 1500)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import WriterSpec, hookimpl

if TYPE_CHECKING:
    from .config import ReportConfig
    from .writer import ReportWriter


@hookimpl
def voxgraft_writers() -> list[WriterSpec[ReportConfig]]:
    return [
        WriterSpec(
            name="dicom-sr",
            summary="TID 1500 measurement report: volumes and intensities of structures, referring to SEG and scan",
            suffixes=(".sr.dcm",),
            filename="report.dcm",
            needs="dicom",
            proves=True,
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[ReportConfig]:
    from .config import ReportConfig

    return ReportConfig


def _build(config: ReportConfig) -> ReportWriter:
    from .writer import ReportWriter

    return ReportWriter(config)
