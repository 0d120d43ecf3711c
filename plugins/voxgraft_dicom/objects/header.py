"""The header that every derived object has: the patient and the study of the scan, and the equipment that made it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from .identity import Maker, long_string
from .sources import Plane, Sources
from .terms import PRIVATE, Term

BLANK = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes that must be there and may be empty (type 2)."""

COPIED = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved", "StudyDescription",
    "DeidentificationMethod", "ClinicalTrialProtocolID", "ClinicalTrialSubjectID", "ClinicalTrialSponsorName",
)  # fmt: skip
"""Attributes of patient and study that go along where the scan has them."""

IDENTIFIERS = frozenset({"PatientID", "IssuerOfPatientID", "StudyID", "AccessionNumber", "ClinicalTrialSubjectID"})
ENUMERATED = {"PatientSex": ("M", "F", "O"), "PatientIdentityRemoved": ("YES", "NO")}
PATTERNS = {
    "DA": re.compile(r"\d{8}"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "DS": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
}
"""What texts of a value representation look like (PS3.5, 6.2)."""


def derived_dataset(
    sources: Sources,
    maker: Maker,
    path: Path,
    *,
    sop_class: str,
    uids: tuple[str, str],
    modality: str,
    series_number: int,
    description: str,
    manufacturer: str,
    syntax: str,
) -> Any:
    """A pydicom data set with the modules Patient, Study, Series, Frame of Reference, Equipment and SOP Common.

    It belongs to the study of the scan. Texts are written as UTF-8, whatever the scan's character set.

    Args:
        uids: The UIDs of its series and of the object itself.
        syntax: The UID of the transfer syntax.
    """
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uids[1]
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, PYDICOM_IMPLEMENTATION_UID
    dataset = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for name, value in patient_and_study(sources).items():
        setattr(dataset, name, value)
    now = datetime.now()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uids[1]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = sources.study, uids[0]
    if sources.frame:
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = (
            sources.frame, _value(sources, "PositionReferenceIndicator")
        )  # fmt: skip
    dataset.Modality, dataset.InstanceNumber = modality, 1
    dataset.SeriesNumber = series_number
    dataset.SeriesDescription = long_string(description)
    dataset.SeriesDate = dataset.InstanceCreationDate = dataset.ContentDate = now.strftime("%Y%m%d")
    dataset.SeriesTime = dataset.InstanceCreationTime = dataset.ContentTime = now.strftime("%H%M%S")
    dataset.Manufacturer, dataset.ManufacturerModelName = manufacturer, "VoxGraft"
    dataset.SoftwareVersions = maker.software
    dataset.DeviceSerialNumber = maker.hash or "0"
    dataset.ContributingEquipmentSequence = [_equipment(maker, manufacturer)]
    return dataset


def patient_and_study(sources: Sources) -> dict[str, str]:
    """The attributes of patient and study that go along, as texts that their value representations allow.

    What a representation does not allow counts as blank, but for identifiers, which stay as they are: another one would
    name somebody else. Sequences of the scan do not go along.
    """
    found = {name: _allowed(name, _value(sources, name)) for name in BLANK}
    found |= {name: value for name in COPIED if (value := _allowed(name, _value(sources, name)))}
    if found.get("PatientIdentityRemoved") == "YES":
        found.setdefault("DeidentificationMethod", "as the images that it was derived from say")
    return found


def _allowed(name: str, text: str) -> str:
    """A text that fits an attribute, shortened where it may be; empty where it cannot fit."""
    from pydicom.datadict import dictionary_VR

    representation = dictionary_VR(name)
    if name in ENUMERATED:
        return text.strip().upper() if text.strip().upper() in ENUMERATED[name] else ""
    if (pattern := PATTERNS.get(representation)) is not None:
        return text if pattern.fullmatch(text.strip()) else ""
    return long_string(text) if text and representation == "LO" and name not in IDENTIFIERS else text


def series_number(sources: Sources, offset: int) -> int:
    """The scan's series number plus an offset; what is not a number counts as 0."""
    try:
        return min(max(0, int(sources.first.get("SeriesNumber") or 0)) + offset, 2**31 - 1)
    except (TypeError, ValueError):
        return offset


def item(**attributes: Any) -> Any:
    """An item of a sequence, with those of the attributes that are not None."""
    from pydicom.dataset import Dataset

    made = Dataset()
    for name, value in attributes.items():
        if value is not None:
            setattr(made, name, value)
    return made


def reference(plane: Plane) -> Any:
    """An item that names the instance, and the frame where it has several, that a slice is from."""
    sop_class, instance = plane.instance
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance, ReferencedFrameNumber=plane.frame)


def concept(value: str, scheme: str, meaning: str) -> Any:
    """A coded term as an item of a sequence.

    Args:
        value: The code, such as `85756007`.
        scheme: Its coding scheme, such as `SCT`.
        meaning: The code in words, at most 64 letters.
    """
    name = "CodeValue" if len(value) <= 16 else "LongCodeValue"
    return item(**{name: value}, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def kind_of(term: Term) -> Any:
    """The coded type of a structure, with its side where its name tells one."""
    kind = concept(*term.type)
    if term.side is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [concept(*term.side)]
    return kind


def algorithm(maker: Maker) -> Any:
    """An item that identifies an algorithm: the model's name, version and hash."""
    return item(
        AlgorithmFamilyCodeSequence=[concept("123110", "DCM", "Artificial Intelligence")],
        AlgorithmName=maker.model,
        AlgorithmVersion=maker.version,
        AlgorithmSource="VoxGraft",
        AlgorithmParameters=f"sha256={maker.hash}" if maker.hash else None,
    )


def private_scheme() -> Any:
    """What the coding scheme of structures without a coded term is, as readers of the object may want to know."""
    return item(
        CodingSchemeDesignator=PRIVATE,
        CodingSchemeName="Names of structures in VoxGraft models",
        CodingSchemeResponsibleOrganization="VoxGraft",
    )


def _equipment(maker: Maker, manufacturer: str) -> Any:
    return item(
        PurposeOfReferenceCodeSequence=[concept("109102", "DCM", "Processing Equipment")],
        Manufacturer=manufacturer,
        ManufacturerModelName=maker.model,
        SoftwareVersions=[maker.version, maker.software],
        DeviceSerialNumber=maker.hash or None,
    )


def _value(sources: Sources, name: str) -> str:
    """An attribute of the first slice as one text; several values, or none that can be read, count as blank.

    Of several names of physicians the first counts, and all ways in which a scan was de-identified.
    """
    from pydicom.multival import MultiValue

    try:
        value = sources.first.get(name)
    except (ValueError, TypeError, LookupError):
        return ""
    if isinstance(value, MultiValue):
        if name == "DeidentificationMethod":
            return "; ".join(map(str, value))
        return str(value[0]) if name == "ReferringPhysicianName" and value else ""
    return "" if value is None or isinstance(value, (bytes, list)) else str(value)
