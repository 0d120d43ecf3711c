"""The attributes that sorting, geometry and reading need: their tags, and how their values are understood."""

from __future__ import annotations

import math
from collections.abc import Mapping

TAGS = {
    "MediaStorageSOPClassUID": 0x00020002,
    "MediaStorageSOPInstanceUID": 0x00020003,
    "TransferSyntaxUID": 0x00020010,
    "SpecificCharacterSet": 0x00080005,
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyDate": 0x00080020,
    "SeriesDate": 0x00080021,
    "AcquisitionDate": 0x00080022,
    "AcquisitionDateTime": 0x0008002A,
    "SeriesTime": 0x00080031,
    "AcquisitionTime": 0x00080032,
    "AccessionNumber": 0x00080050,
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "InstitutionName": 0x00080080,
    "StationName": 0x00081010,
    "SeriesDescription": 0x0008103E,
    "ManufacturerModelName": 0x00081090,
    "ComplexImageComponent": 0x00089208,
    "PatientName": 0x00100010,
    "PatientID": 0x00100020,
    "PatientBirthDate": 0x00100030,
    "PatientSex": 0x00100040,
    "PatientAge": 0x00101010,
    "PatientSize": 0x00101020,
    "PatientWeight": 0x00101030,
    "SliceThickness": 0x00180050,
    "KVP": 0x00180060,
    "EchoTime": 0x00180081,
    "InversionTime": 0x00180082,
    "EchoNumbers": 0x00180086,
    "SpacingBetweenSlices": 0x00180088,
    "TriggerTime": 0x00181060,
    "ImagerPixelSpacing": 0x00181164,
    "ConvolutionKernel": 0x00181210,
    "ActualFrameDuration": 0x00181242,
    "FlipAngle": 0x00181314,
    "NominalScannedPixelSpacing": 0x00182010,
    "DiffusionBValue": 0x00189087,
    "DiffusionGradientOrientation": 0x00189089,
    "ASLContext": 0x00189257,
    "Creator0019": 0x00190010,
    "SiemensMosaicCount": 0x0019100A,
    "SiemensBValue": 0x0019100C,
    "SiemensDirection": 0x0019100E,
    "GEDirectionX": 0x001910BB,
    "GEDirectionY": 0x001910BC,
    "GEDirectionZ": 0x001910BD,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "AcquisitionNumber": 0x00200012,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "TemporalPositionIdentifier": 0x00200100,
    "ImagesInAcquisition": 0x00201002,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "CorrectedImage": 0x00280051,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "PixelPaddingValue": 0x00280120,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "LossyImageCompression": 0x00282110,
    "ModalityLUTSequence": 0x00283000,
    "Creator0043": 0x00430010,
    "GEImageKind": 0x0043102F,
    "GEBValue": 0x00431039,
    "NumberOfSlices": 0x00540081,
    "Units": 0x00541001,
    "DecayCorrection": 0x00541102,
    "FrameReferenceTime": 0x00541300,
    "Creator2001": 0x20010010,
    "PhilipsBValue": 0x20011003,
    "PhilipsPhase": 0x20011008,
    "Creator2005": 0x20050014,
    "PhilipsLabel": 0x20051429,
    "SharedFunctionalGroupsSequence": 0x52009229,
    "PerFrameFunctionalGroupsSequence": 0x52009230,
    "FloatPixelData": 0x7FE00008,
    "DoubleFloatPixelData": 0x7FE00009,
}
WANTED = frozenset(TAGS.values())
NAMES = {tag: name for name, tag in TAGS.items()}
WHOLE_NUMBERS = frozenset(
    {
        *("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
        "NumberOfSlices",
    }
)
"""Attributes of VR US: two bytes, not text."""
BINARY = {
    "DiffusionBValue": "d",
    "DiffusionGradientOrientation": "d",
    "SiemensDirection": "d",
    "PhilipsBValue": "f",
    "GEImageKind": "h",
}
"""Attributes of the VRs FD, FL and SS, by the letters of `struct`: numbers in bytes, not text."""
FLOATING = ("FloatPixelData", "DoubleFloatPixelData")
PRESENCE = frozenset(
    {*FLOATING, "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"}
)
"""Attributes of which only the presence counts."""
PRIVATE = {
    **dict.fromkeys(("SiemensMosaicCount", "SiemensBValue", "SiemensDirection"), ("Creator0019", "SIEMENS MR HEADER")),
    **dict.fromkeys(("GEDirectionX", "GEDirectionY", "GEDirectionZ"), ("Creator0019", "GEMS_ACQU")),
    **dict.fromkeys(("GEImageKind", "GEBValue"), ("Creator0043", "GEMS_PARM")),
    **dict.fromkeys(("PhilipsBValue", "PhilipsPhase"), ("Creator2001", "PHILIPS IMAGING DD 001")),
    "PhilipsLabel": ("Creator2005", "PHILIPS MR IMAGING DD 005"),
}
"""Attributes of one maker, each with the element that names its creator and how that name begins."""
CREATORS = frozenset(creator for creator, _ in PRIVATE.values())


def shown(text: str) -> str:
    """A value from a file as a message may show it: short, and on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:40])


class Attributes:
    """Attributes as text by keyword, several values parted by a backslash; blank ones are left out."""

    __slots__ = ()
    values: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.values.get(name, "")

    def parts(self, name: str) -> list[str]:
        """The values of an attribute of code strings, in capitals."""
        return self.values.get(name, "").upper().split("\\")

    def numbers(self, name: str, count: int) -> tuple[float, ...] | None:
        """The values of a numeric attribute; None where they are missing, no finite numbers, or of another count."""
        try:
            values = tuple(float(part) for part in self.values[name].split("\\"))
        except (KeyError, ValueError):
            return None
        return values if len(values) == count and all(map(math.isfinite, values)) else None

    def number(self, name: str, default: float) -> float:
        values = self.numbers(name, 1)
        return values[0] if values else default

    def whole(self, name: str, default: int = 0) -> int:
        """A whole number; -1 where something else stands there."""
        text = self.values.get(name)
        if text is None:
            return default
        return int(text) if text.isascii() and text.isdecimal() else -1
