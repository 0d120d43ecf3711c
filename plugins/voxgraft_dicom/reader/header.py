"""The header of one DICOM file: the few attributes that sorting, geometry and reading need."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from struct import calcsize, unpack_from
from typing import Any

from voxgraft.plugin import BadImage

from ..objects.deflated import read_head
from ..objects.forgiving import forgiving
from .attributes import BINARY, CREATORS, NAMES, PRESENCE, PRIVATE, TAGS, WANTED, WHOLE_NUMBERS, Attributes
from .elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Memory, Odd, Short, walk

NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED})
"""Transfer syntaxes whose pixels are not compressed."""
GE_OFFSET = 1_000_000_000
"""What scanners of General Electric add to b-values; the values behind the first say nothing of them."""
WINDOW = 1 << 14
"""Bytes that are read first; most headers end before."""


@dataclass(frozen=True, slots=True)
class Header(Attributes):
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

    @property
    def sop_class(self) -> str:
        return self.text("SOPClassUID") or self.text("MediaStorageSOPClassUID")

    @property
    def instance(self) -> str:
        return self.text("SOPInstanceUID") or self.text("MediaStorageSOPInstanceUID")

    @property
    def floating(self) -> int:
        """The bytes of a pixel that is stored as a floating-point number; 0 where pixels are whole numbers."""
        return 4 if self.text("FloatPixelData") else 8 if self.text("DoubleFloatPixelData") else 0

    @property
    def native(self) -> bool:
        """The pixels lie in the file as they are, to be read without a decoder."""
        return self.plain and self.syntax in (IMPLICIT, EXPLICIT) and self.length >= 0


def read_header(path: Path, memory: Memory | None = None) -> Header | None:
    """Read a file's header; None where it is not a DICOM file at all.

    Args:
        memory: What the headers read before share with this one; whoever reads a series passes one to all of them.

    Raises:
        BadImage: It is deflated, and unpacks to more than its header promises.
        OSError: The file cannot be read.
    """
    window, memory = WINDOW, Memory() if memory is None else memory
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while True:
            file.seek(0)
            data = file.read(window)
            try:
                found = walk(data, size, WANTED, memory)
            except Short:
                window *= 8
            except Odd:
                return _by_pydicom(path, size)
            else:
                break
    raw = {NAMES[tag]: value for tag, value in found.values.items()}
    values = _own({name: text for name, value in raw.items() if (text := _text(name, value, raw))})
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
    if name in WHOLE_NUMBERS or (name == "SiemensMosaicCount" and len(value) == 2):
        return str(unpack_from("<H", value)[0]) if len(value) >= 2 else ""
    if name in PRESENCE:
        return "present"
    if name in BINARY:
        return _numbers(name, value)
    if name == "PixelPaddingValue":
        signed = raw.get("PixelRepresentation", b"\0")[:1] == b"\1"
        return str(unpack_from("<h" if signed else "<H", value)[0]) if len(value) == 2 else ""
    if value.isascii():
        return _ascii(value)
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.valuerep import TEXT_VR_DELIMS

    codes = raw.get("SpecificCharacterSet", b"").decode("ascii", "replace").strip(" \0").split("\\")
    try:
        with forgiving():
            return str(decode_bytes(value, convert_encodings(codes), TEXT_VR_DELIMS)).strip(" \0")
    except (LookupError, ValueError):
        return value.decode("latin-1").strip(" \0")


def _numbers(name: str, value: bytes) -> str:
    """Numbers in bytes as text; as they stand where some program wrote text instead."""
    letter = BINARY[name]
    size = calcsize(letter)
    if len(value) % size:
        return value.decode("ascii", "replace").strip(" \0")
    return "\\".join(map(repr, unpack_from(f"<{len(value) // size}{letter}", value)))


@lru_cache(maxsize=1024)
def _ascii(value: bytes) -> str:
    """Text of plain letters; most of it is the same in all files of a series, and then hashed once."""
    return value.decode("ascii").strip(" \0")


def _own(values: dict[str, str]) -> dict[str, str]:
    """Without private attributes that stand under another maker's name."""
    for name in PRIVATE.keys() & values.keys():
        creator, start = PRIVATE[name]
        if not values.get(creator, "").upper().startswith(start):
            del values[name]
    for name in CREATORS & values.keys():
        del values[name]
    first = values.get("GEBValue", "").partition("\\")[0]
    if first.isascii() and first.isdecimal():
        values["GEBValue"] = str(int(first) % GE_OFFSET)
    return values


def _by_pydicom(path: Path, size: int) -> Header | None:
    """Read what the walk would not: deflated, big endian, without preamble, with wrong VRs."""
    try:
        with forgiving():
            dataset, length = read_head(path)
            meta = dataset.file_meta
            values = {name: _plain(meta if tag >> 16 == 2 else dataset, name, tag) for name, tag in TAGS.items()}
            has_pixels = length >= 0
            syntax = values["TransferSyntaxUID"] or _syntax_of(dataset)
    except BadImage:
        raise
    except Exception:  # pydicom fails in many ways on what is not DICOM
        return None
    if not (values["SOPClassUID"] or values["MediaStorageSOPClassUID"]) and not values["Rows"]:
        return None
    return Header(
        path=path,
        size=size,
        values=_own({name: text for name, text in values.items() if text}),
        syntax=syntax,
        pixels=-1,
        length=length if syntax in NATIVE else -1,
        complete=True,
        plain=False,
        has_pixels=has_pixels,
    )


def _syntax_of(dataset: Any) -> str:
    """How a file without a meta header is written, as pydicom guessed it from the first element."""
    implicit, little = dataset.original_encoding
    if little is False:
        return BIG_ENDIAN
    return IMPLICIT if implicit else EXPLICIT


def _plain(dataset: Any, name: str, tag: int) -> str:
    value = dataset.get(name)
    if name in PRIVATE or name in CREATORS:
        value = dataset[tag].value if tag in dataset else None
    if value is None:
        return ""
    if name in PRESENCE:
        return "present"
    if isinstance(value, bytes) and name in BINARY:
        return _numbers(name, value)
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip(" \0")
    several = not isinstance(value, str) and hasattr(value, "__iter__") and name != "PatientName"
    return "\\".join(map(str, value)) if several else str(value).strip()


STORAGE = "1.2.840.10008.5.1.4.1.1."
DIRECTORY = "1.2.840.10008.1.3.10"
TOMOGRAPHIC = {STORAGE + "2": "CT", STORAGE + "4": "MR", STORAGE + "128": "PT"}
"""Single slices: without a place in the patient they are of no use."""
STRUCTURES = {STORAGE + "66.4": "dicom-seg", STORAGE + "66.7": "dicom-seg", STORAGE + "481.3": "dicom-rtstruct"}
"""Objects that hold structures of an image, with the readers that understand them."""
_IMAGES = frozenset({"1", "2", "3", "4", "5", "6", "7", "12", "13", "14", "20", "30", "77", "128", "130"})
_NO_IMAGES = frozenset(map(str, (*range(8, 12), 66, 67, 68, 78, 79, 80, 88, 90, 91, 104, 129, 131, 200, 201, 481)))
_NO_IMAGES_BY_NAME = frozenset({STORAGE + "4.2", STORAGE + "77.1.5.3", STORAGE + "501.3"})


def is_image(header: Header) -> bool:
    """Whether the file holds, or should hold, an image: one without pixels may be what is left of a slice."""
    name = header.sop_class
    family = name.removeprefix(STORAGE).split(".")[0] if name.startswith(STORAGE) else ""
    if family in _NO_IMAGES or name in _NO_IMAGES_BY_NAME or name.startswith(DIRECTORY):
        return False
    known = header.has_pixels or header.text("Rows") or not header.complete
    return bool(known) or not name or family in _IMAGES


def modality_of(header: Header) -> str | None:
    return header.text("Modality") or TOMOGRAPHIC.get(header.sop_class)
