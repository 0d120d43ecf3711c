"""The header that every derived object has: the patient and the study of the scan, and the equipment that made it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from .identity import Maker, long_string
from .sources import Sources

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
    for name in BLANK:
        setattr(dataset, name, _value(sources, name))
    for name in COPIED:
        if value := _value(sources, name):
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


def series_number(sources: Sources, offset: int) -> int:
    """The scan's series number plus an offset; what is no number counts as 0."""
    try:
        return min(max(0, int(sources.first.get("SeriesNumber") or 0)) + offset, 2**31 - 1)
    except (TypeError, ValueError):
        return offset


def concept(value: str, scheme: str, meaning: str) -> Any:
    """A coded term as an item of a sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    name = "CodeValue" if len(value) <= 16 else "LongCodeValue"
    setattr(item, name, value)
    item.CodingSchemeDesignator, item.CodeMeaning = scheme, meaning
    return item


def algorithm(maker: Maker) -> Any:
    """An item that identifies an algorithm: the model's name, version and hash."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.AlgorithmFamilyCodeSequence = [concept("123110", "DCM", "Artificial Intelligence")]
    item.AlgorithmName, item.AlgorithmVersion, item.AlgorithmSource = maker.model, maker.version, "VoxGraft"
    if maker.hash:
        item.AlgorithmParameters = f"sha256={maker.hash}"
    return item


def private_scheme() -> Any:
    """What the coding scheme of structures without a coded term is, as readers of the object may want to know."""
    from pydicom.dataset import Dataset

    from .terms import PRIVATE

    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = PRIVATE, "Names of structures in VoxGraft models"
    item.CodingSchemeResponsibleOrganization = "VoxGraft"
    return item


def _equipment(maker: Maker, manufacturer: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [concept("109102", "DCM", "Processing Equipment")]
    item.Manufacturer, item.ManufacturerModelName = manufacturer, maker.model
    item.SoftwareVersions = [maker.version, maker.software]
    if maker.hash:
        item.DeviceSerialNumber = maker.hash
    return item


def _value(sources: Sources, name: str) -> str:
    """An attribute of the first slice as one text; several values, or none that can be read, count as blank."""
    try:
        value = sources.first.get(name)
    except (ValueError, TypeError, LookupError):
        return ""
    several = value is not None and not isinstance(value, str) and hasattr(value, "__len__") and name != "PatientName"
    return "" if value is None or (several and name != "ReferringPhysicianName") else str(value)
