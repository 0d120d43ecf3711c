"""Write what was measured in a mask as a DICOM structured report (TID 1500)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import WriterSpec, hookimpl

if TYPE_CHECKING:
    from .options import ReportOptions
    from .writer import ReportWriter


@hookimpl
def voxgraft_writers() -> list[WriterSpec[ReportOptions]]:
    return [
        WriterSpec(
            name="dicom-sr",
            summary="TID 1500 measurement report: volumes and intensities of structures, referring to SEG and scan",
            suffixes=(".sr.dcm",),
            filename="report.dcm",
            needs="dicom",
            proves=True,
            options=_options,
            build=_build,
        )
    ]


def _options() -> type[ReportOptions]:
    from .options import ReportOptions

    return ReportOptions


def _build(options: ReportOptions) -> ReportWriter:
    from .writer import ReportWriter

    return ReportWriter(options)
