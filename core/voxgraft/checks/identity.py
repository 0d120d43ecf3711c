"""Text that may tell who a patient is: only where it stands is said, never what it says."""

from __future__ import annotations

import gzip
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft_dicom.objects.deflated import read_dicom
from voxgraft_dicom.objects.forgiving import forgiving

from ..datasets.cases import Dataset
from ..imaging.volume import Item
from .problem import CaseProblem, counted, listed
from .record import Trace

if TYPE_CHECKING:
    from .record import Look

HEAD = 1 << 16
"""Bytes at the beginning of a file in which a text header is looked at."""

DICOM = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "InstitutionName",
    "InstitutionAddress",
    "AccessionNumber",
)
"""Attributes that name people or lead to them."""

FIELDS = {
    348: {"db_name": (14, 18), "descrip": (148, 80), "aux_file": (228, 24), "intent_name": (328, 16)},
    540: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16)},
}
"""By the size of a NIfTI header the places and lengths of its free fields."""

DRAWN_ON = ("SC", "US", "ES", "XC", "OT")
"""Modalities in whose pictures names are often drawn into the pixels."""

_UID = re.compile(r"\d+(?:\.\d+){3,}")
_SIGNS = {
    "a date": re.compile(
        r"(?<![\d.])(?:(?:19|20)\d\d([-_./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
        r"|(?:0[1-9]|[12]\d|3[01])([-_./])(?:0[1-9]|1[0-2])\2(?:19|20)\d\d)(?!\d)"
    ),
    "a person's name": re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}|(?:^|[/\s])[A-Z][a-z]{2,}, ?[A-Z][a-z]{2,}"),
    "a patient's number": re.compile(
        r"(?i)(?:mrn|patient_?id|pat_?id|(?<![a-z])pid)[-_ :#=]*\d{4,}|(?<![\d.])\d{7,10}(?![\d.])"
    ),
}


def signs(text: str) -> Iterator[str]:
    """What a text looks like that tells of a person: a date, a name, a number; nothing for harmless ones."""
    plain = _UID.sub(" ", text)
    for kind, pattern in _SIGNS.items():
        found = pattern.search(plain)
        if found:
            yield kind
            plain = pattern.sub(" ", plain)


def traces(item: Item) -> set[Trace]:
    """Where the header of an image may tell who the patient is; nothing for headers that cannot be read."""
    file = item.files[0] if item.files else item.path
    name = file.name.lower()
    try:
        if item.reader.startswith("dicom"):
            return set(_dicom(file))
        if name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
            return set(_nifti(file))
        if name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
            return set(_text(file))
    except Exception:  # whatever a damaged header raises: the reader itself says what is wrong with the file
        return set()
    return set()


def _dicom(file: Path) -> Iterator[Trace]:
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


def _nifti(file: Path) -> Iterator[Trace]:
    """The free fields and the extensions of NIfTI-1, NIfTI-2 and Analyze headers, read where the standard has them."""
    with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as stream:
        head = stream.read(HEAD)
    sizes = {order: struct.unpack_from(f"{order}i", head)[0] for order in "<>"}
    found = [(order, size) for order, size in sizes.items() if size in FIELDS]
    if not found:
        return
    order, size = found[0]
    for field, (start, length) in FIELDS[size].items():
        text = head[start : start + length].split(b"\0")[0].decode("latin-1").strip()
        for kind in list(signs(text)) or (["text"] if field == "db_name" and text else []):
            yield Trace("text-in-header", field, kind)
    place = size + 4
    end = (
        int(struct.unpack_from(f"{order}f", head, 108)[0])
        if size == 348
        else struct.unpack_from(f"{order}q", head, 168)[0]
    )
    while head[size] and place + 8 <= min(len(head), end):
        length, code = struct.unpack_from(f"{order}ii", head, place)
        if length < 8:
            return
        if code == 2:
            yield Trace("text-in-header", "extension", "a DICOM header")
        for kind in signs(head[place + 8 : place + length].decode("latin-1")) if code != 2 else ():
            if kind != "a date" or code == 6:  # programs note there when they wrote; people comment in 6
                yield Trace("text-in-header", "extension", kind)
        place += length


def _text(file: Path) -> Iterator[Trace]:
    """Keys and values at the beginning of NRRD and MetaImage files."""
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    for row in re.split(rb"\r?\n", head):
        key, found, value = row.decode("latin-1").partition(":=" if b":=" in row else "=")
        key, value = key.strip(), value.strip()
        if key == "ElementDataFile" or not row:
            return
        if not found or not value or not key.isprintable() or len(key) > 64:
            continue
        personal = "0010" in key.replace("|", " ").split() or re.search(r"(?i)patient|subject|birth", key)
        for kind in ["text"] if personal else signs(value):
            yield Trace("text-in-header", "of the patient" if personal else "of the file", kind)


def judge_identity(dataset: Dataset, looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Headers, pictures and file names that may tell who the patients are."""
    where = Counter(trace for look in looks for trace in look.traces)
    fields = [field for field in DICOM if Trace("names-in-header", field) in where]
    if fields:
        cases = sum(any(trace.code == "names-in-header" for trace in look.traces) for look in looks)
        message = f"the DICOM headers of {cases} of {counted(len(looks), 'case')} hold text in {listed(fields, 20)}"
        yield CaseProblem("names-in-header", "note", None, message)
    for trace, cases in sorted(where.items()):
        if trace.code == "burned-in" and trace.kind == "YES":
            message = f"{counted(cases, 'case')} say that text is burned into their pictures (BurnedInAnnotation)"
            yield CaseProblem("burned-in", "warning", None, message)
        elif trace.code == "burned-in":
            message = (
                f"{counted(cases, 'case')} are of modality {trace.kind}, where names are often drawn into the pixels"
            )
            yield CaseProblem("burned-in", "note", None, message)
        elif trace.code == "text-in-header":
            first = next(look.case.id for look in looks if trace in look.traces)
            message = f"the header field {trace.place} of {counted(cases, 'case')} holds what looks like {trace.kind}"
            yield CaseProblem("text-in-header", "note", first if cases == 1 else None, message)
    yield from _names(dataset)


def _names(dataset: Dataset) -> Iterator[CaseProblem]:
    paths = [ref.path.absolute() for case in dataset.cases for ref in case.references]
    if not paths:
        return
    root = Path(os.path.commonpath([path.parent for path in paths]))
    kinds = Counter(
        kind for path in set(paths) for kind in {sign for part in path.relative_to(root).parts for sign in signs(part)}
    )
    for kind, files in sorted(kinds.items()):
        message = (
            f"{files} of {counted(len(set(paths)), 'path')} below the data set's folder hold what looks like {kind}"
        )
        yield CaseProblem("telling-name", "note", None, message)
