"""What is done with each attribute: the table of PS3.15 (E.1-1), and what the options and our own caution change.

The table is that of dicom-anonymizer (edition 2026c of the standard). Its option columns are not in that package; they
are here, for the options that are offered. Its driver is not used: it leaves the attributes within sequences alone,
turns removed dates into the year 1, and forgets its UIDs when the process ends.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR, tag_for_keyword

EDITION = "2026c"


class Action(Enum):
    """What happens to an attribute."""

    REMOVE = "remove"
    EMPTY = "empty"
    DUMMY = "dummy"
    UID = "uid"
    KEEP = "keep"


_OF_TABLE = {
    "D_TAGS": Action.DUMMY,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.REMOVE,
    "U_TAGS": Action.UID,
    # Where the standard leaves the choice to the kind of object, the one that is valid in every object is taken.
    "Z_D_TAGS": Action.DUMMY,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    "X_Z_U_STAR_TAGS": Action.KEEP,  # references to images: kept, with the new UIDs inside
}


def tags(keywords: str) -> frozenset[int]:
    """The tags of attributes, by their keywords."""
    found = {tag_for_keyword(keyword) for keyword in keywords.split()}
    return frozenset(tag for tag in found if tag is not None)


_OWN = {
    Action.EMPTY: tags(
        "PatientID OperatorsName SecondaryReviewerName EvaluatorName DocumentAuthorTrial ContentDescription"
    ),
    Action.DUMMY: tags("TextValue"),
    Action.REMOVE: tags(
        "ReferencedStudySequence "  # of one item at least, where it is there at all
        "GraphicAnnotationSequence RetrieveURL RetrieveURI StoredInstanceBaseURI FolderAccessURI FileAccessURI "
        "FilenameInContainer PixelDataProviderURL StorageURL ContactURI EncryptedAttributesSequence "
        "SegmentDescription"
    ),
    Action.KEEP: tags("ContentSequence"),  # walked: texts and names inside become dummies (see `risk`)
}

RETAINED = {
    "patient": tags(
        "EthnicGroup EthnicGroups PatientAge PatientSex PatientSexNeutered PatientSize PatientWeight PregnancyStatus "
        "SmokingStatus"
    ),
    "device": tags(
        "CassetteID DetectorID DeviceDescription DeviceLabel DeviceSerialNumber DeviceUID GantryID GeneratorID "
        "LensMake LensModel LensSerialNumber LensSpecification ManufacturerDeviceClassUID ManufacturerDeviceIdentifier "
        "PerformedStationAETitle PerformedStationGeographicLocationCodeSequence PerformedStationName "
        "PerformedStationNameCodeSequence PlateID ScheduledProcedureStepLocation ScheduledStationAETitle "
        "ScheduledStationGeographicLocationCodeSequence ScheduledStationName ScheduledStationNameCodeSequence "
        "ScheduledStudyLocation ScheduledStudyLocationAETitle SourceManufacturer SourceSerialNumber StationName "
        "TreatmentMachineName XRayDetectorID XRayDetectorLabel XRaySourceID"
    ),
    "institution": tags(
        "ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialSiteID "
        "ClinicalTrialSiteName InstitutionAddress InstitutionCodeSequence InstitutionName InstitutionalDepartmentName "
        "InstitutionalDepartmentTypeCodeSequence"
    ),
}
"""The columns "Retain Patient Characteristics", "Retain Device Identity" and "Retain Institution Identity"."""

DESCRIPTORS = tags(
    "AcquisitionProtocolDescription ContentDescription ContrastBolusAgent DerivationDescription "
    "PerformedProcedureStepDescription ProtocolName ROIDescription ROIName ROIObservationLabel RTPlanLabel "
    "RequestedProcedureDescription SegmentDescription SegmentLabel SeriesDescription StructureSetDescription "
    "StructureSetLabel StructureSetName StudyDescription"
)
"""Of the column "Clean Descriptors" what is worth keeping, and what SEG adds; the others are always removed."""

BIRTH = tags("PatientBirthDate PatientBirthTime")
"""No option keeps these."""

SEGMENT_LABEL = tag_for_keyword("SegmentLabel")
"""Must not be empty, and says which structure it is: cleaned by the words, never removed."""

CLASSES = tags(
    "SOPClassUID ReferencedSOPClassUID RelatedGeneralSOPClassUID OriginalSpecializedSOPClassUID SOPClassesInStudy "
    "SOPClassesSupported PertinentSOPClassesInStudy PertinentSOPClassesInSeries CodingSchemeUID ContextUID "
    "ContextGroupExtensionCreatorUID MappingResourceUID StoredInstanceTransferSyntaxUID AvailableTransferSyntaxUID "
    "MACCalculationTransferSyntaxUID EncryptedContentTransferSyntaxUID FlowTransferSyntaxUID"
)
"""UIDs that say what a thing is, not which one it is."""

TIMEZONE = tag_for_keyword("TimezoneOffsetFromUTC")

SAFE_PRIVATE: dict[tuple[int, str], frozenset[int]] = {
    (0x0019, "GEMS_ACQU_01"): frozenset((0x23, 0x24, 0x25, 0x26, 0x27)),
    (0x0043, "GEMS_PARM_01"): frozenset((0x27, 0x39, 0x6F)),
    (0x0045, "GEMS_HELIOS_01"): frozenset((0x01, 0x02)),
    (0x0019, "SIEMENS MR HEADER"): frozenset((0x0A, 0x0C, 0x0E, 0x27)),
    (0x2001, "Philips Imaging DD 001"): frozenset((0x03,)),
    (0x2005, "Philips MR Imaging DD 001"): frozenset((0x0D, 0x0E)),
    (0x7053, "Philips PET Private Group"): frozenset((0x00, 0x09)),
    (0x00E1, "ELSCINT1"): frozenset((0x21,)),
    (0x01F1, "ELSCINT1"): frozenset((0x07, 0x26, 0x27)),
}
"""(group, creator): elements. Numbers only, of PS3.15, table E.3.10-1, and the number of images in a Siemens mosaic."""


@lru_cache(maxsize=1)
def _table() -> dict[int, Action]:
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    table: dict[int, Action] = {}
    for name, given in dicom_anonymization_database_selector(f"dicomfields_{EDITION}").items():
        if name in _OF_TABLE:
            table |= {tag[0] << 16 | tag[1]: _OF_TABLE[name] for tag in given if len(tag) == 2}
    for action, own in _OWN.items():
        table |= dict.fromkeys(own, action)
    return table


@lru_cache(maxsize=8192)
def action(tag: int) -> Action:
    """What the profile does with an attribute that is not private.

    Commands, file meta and directory records (groups below 8) have no place in a data set. Curves (50xx) and overlays
    (60xx) are removed whole; what the dictionary of the standard does not know is removed.
    """
    group = tag >> 16
    if group < 8 or group in range(0x5000, 0x5100) or group in range(0x6000, 0x6100) or not dictionary_has_tag(tag):
        return Action.REMOVE
    if not tag & 0xFFFF:  # lengths of groups, which are no longer right
        return Action.REMOVE
    given = _table().get(tag)
    if given is not None:
        return given
    vr = dictionary_VR(tag)
    if vr == "UI":
        return Action.KEEP if tag in CLASSES else Action.UID
    return Action.EMPTY if vr in ("PN", "DA", "DT", "TM") else Action.KEEP


def keyword(tag: int) -> str:
    """The attribute's name for a message."""
    place = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return f"{dictionary_keyword(tag)} {place}" if dictionary_has_tag(tag) else place
