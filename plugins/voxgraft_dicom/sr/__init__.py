"""Write what was measured in a mask as a DICOM structured report (TID 1500)."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import WriterSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_writers() -> list[WriterSpec[Any]]:
    return [
        WriterSpec(
            name="dicom-sr",
            summary="TID 1500 measurement report: volumes and intensities of structures, referring to SEG and scan",
            suffixes=(".sr.dcm",),
            filename="report.dcm",
            needs="dicom",
            proves=True,
            options=late(__name__, ".options:ReportOptions"),
            build=late_call(__name__, ".writer:ReportWriter"),
        )
    ]
