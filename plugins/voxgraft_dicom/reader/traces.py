"""Where a DICOM header may tell who the patient is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from voxgraft.plugin import Trace

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving

DICOM = (
    "PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "OtherPatientNames", "PatientAddress",
    "PatientTelephoneNumbers", "PatientComments", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "InstitutionName", "InstitutionAddress", "AccessionNumber",
)  # fmt: skip
"""Attributes that identify people directly or indirectly."""

DRAWN_ON = ("SC", "US", "ES", "XC", "OT")
"""Modalities in whose pictures names are often drawn into the pixels."""


def traces(file: Path) -> Iterator[Trace]:
    """Attributes that identify people directly or indirectly, and pictures into which names may be drawn."""
    wanted = [*DICOM, "Modality", "BurnedInAnnotation", "PatientIdentityRemoved"]
    with forgiving():  # pydicom's warnings quote the values
        header = read_dicom(file, pixels=False, specific_tags=wanted)
        texts = {field: str(header.get(field) or "").strip(" ^") for field in wanted}
    if texts["PatientIdentityRemoved"].upper() != "YES":
        yield from (Trace("names-in-header", field) for field in DICOM if texts[field])
    burned = texts["BurnedInAnnotation"].upper()
    if burned == "YES":
        yield Trace("burned-in", "BurnedInAnnotation", "YES")
    elif burned != "NO" and texts["Modality"] in DRAWN_ON:
        yield Trace("burned-in", "Modality", texts["Modality"])
