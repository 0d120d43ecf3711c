"""The header of one DICOM file: the few attributes that sorting, geometry and reading need."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from
from typing import Any

from .elements import EXPLICIT, IMPLICIT, Odd, Short, walk

TAGS = {
    "MediaStorageSOPClassUID": 0x00020002,
    "MediaStorageSOPInstanceUID": 0x00020003,
    "TransferSyntaxUID": 0x00020010,
    "SpecificCharacterSet": 0x00080005,
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "Modality": 0x00080060,
    "SeriesDescription": 0x0008103E,
    "PatientID": 0x00100020,
    "SliceThickness": 0x00180050,
    "EchoTime": 0x00180081,
    "SpacingBetweenSlices": 0x00180088,
    "TriggerTime": 0x00181060,
    "ImagerPixelSpacing": 0x00181164,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "AcquisitionNumber": 0x00200012,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "TemporalPositionIdentifier": 0x00200100,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "LossyImageCompression": 0x00282110,
    "ModalityLUTSequence": 0x00283000,
    "PerFrameFunctionalGroupsSequence": 0x52009230,
}
WANTED = frozenset(TAGS.values())
NAMES = {tag: name for name, tag in TAGS.items()}
WHOLE_NUMBERS = frozenset(
    {"SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"}
)
"""Attributes of VR US: two bytes, not text."""
PRESENCE = frozenset({"ModalityLUTSequence", "PerFrameFunctionalGroupsSequence"})
WINDOW = 1 << 14
"""Bytes that are read first; most headers end before."""


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says.

    Attributes:
        values: Attributes as text by keyword, several values parted by a backslash; blank ones are left out.
        pixels: Where the pixel data begin in the file; -1 where there are none, or only pydicom can find them.
        length: Their length in bytes; -1 where they are compressed.
        complete: The header does not break off.
        plain: It was walked here; otherwise pydicom had to read it, and has to read its pixels.
    """

    path: Path
    size: int
    values: dict[str, str]
    syntax: str
    pixels: int
    length: int
    complete: bool
    plain: bool
    has_pixels: bool

    def text(self, name: str) -> str:
        return self.values.get(name, "")

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
        text = self.values.get(name, str(default))
        return int(text) if text.isdecimal() else -1

    @property
    def sop_class(self) -> str:
        return self.text("SOPClassUID") or self.text("MediaStorageSOPClassUID")

    @property
    def instance(self) -> str:
        return self.text("SOPInstanceUID") or self.text("MediaStorageSOPInstanceUID")

    @property
    def native(self) -> bool:
        """The pixels lie in the file as they are, to be read without a decoder."""
        return self.plain and self.syntax in (IMPLICIT, EXPLICIT) and self.length >= 0


def read_header(path: Path) -> Header | None:
    """Read a file's header; None where it is no DICOM file at all.

    Raises:
        OSError: The file cannot be read.
    """
    window = WINDOW
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while True:
            data = os.pread(file.fileno(), window, 0)
            try:
                found = walk(data, size, WANTED)
            except Short:
                window *= 8
            except Odd:
                return _by_pydicom(path, size)
            else:
                break
    raw = {NAMES[tag]: value for tag, value in found.values.items()}
    values = {name: text for name, value in raw.items() if (text := _text(name, value, raw))}
    return Header(
        path=path,
        size=size,
        values=values,
        syntax=found.syntax,
        pixels=found.pixels,
        length=found.length,
        complete=found.complete,
        plain=True,
        has_pixels=found.pixels >= 0,
    )


def _text(name: str, value: bytes, raw: dict[str, bytes]) -> str:
    if name in WHOLE_NUMBERS:
        return str(unpack_from("<H", value)[0]) if len(value) >= 2 else ""
    if name in PRESENCE:
        return "present"
    if value.isascii():
        return value.decode("ascii").strip(" \0")
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.valuerep import TEXT_VR_DELIMS

    codes = raw.get("SpecificCharacterSet", b"").decode("ascii", "replace").strip(" \0").split("\\")
    try:
        return str(decode_bytes(value, convert_encodings(codes), TEXT_VR_DELIMS)).strip(" \0")
    except (LookupError, UnicodeError):
        return value.decode("latin-1").strip(" \0")


def _by_pydicom(path: Path, size: int) -> Header | None:
    """Read what the walk would not: deflated, big endian, without preamble, with wrong VRs."""
    import warnings

    import pydicom

    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")  # they quote values, and what they warn of is checked here anyway
            dataset = pydicom.dcmread(path, force=True, defer_size=WINDOW)
            meta = dataset.file_meta
            values = {name: _plain(meta if tag >> 16 == 2 else dataset, name) for name, tag in TAGS.items()}
            has_pixels = "PixelData" in dataset
    except Exception:  # pydicom fails in many ways on what is no DICOM
        return None
    if not (values["SOPClassUID"] or values["MediaStorageSOPClassUID"]) and not values["Rows"]:
        return None
    return Header(
        path=path,
        size=size,
        values={name: text for name, text in values.items() if text},
        syntax=values["TransferSyntaxUID"],
        pixels=-1,
        length=-1,
        complete=True,
        plain=False,
        has_pixels=has_pixels,
    )


def _plain(dataset: Any, name: str) -> str:
    value = dataset.get(name)
    if value is None:
        return ""
    if name in PRESENCE:
        return "present"
    several = not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")
    return "\\".join(map(str, value)) if several else str(value).strip()
