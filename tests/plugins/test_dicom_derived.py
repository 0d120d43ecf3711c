"""Derived objects of scans in any character set, with odd or empty attributes: SEG, RTSTRUCT and SR alike."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_masks import FACTS, LABELS, blobs, complaints, only, series
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.write import write

WRITERS = {"dicom-seg": "m.dcm", "dicom-rtstruct": "m.rtstruct.dcm", "dicom-sr": "m.sr.dcm"}
SETS: dict[str, tuple[Any, str]] = {
    "empty": ("", "Doe^John"),
    "missing": (None, "Doe^John"),
    "latin": ("ISO_IR 100", "Müller^Änne"),
    "cyrillic": ("ISO_IR 144", "Люкceмбypг"),
    "greek": ("ISO_IR 126", "Διονυσιος"),
    "arabic": ("ISO_IR 127", "قباني^لنزار"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "half width": (["ISO_IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "unicode": ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
    "unknown": ("ISO-IR 999", "Doe^John"),
}
SEQUENCES = (
    "ReferencedStudySequence", "RequestAttributesSequence", "ProcedureCodeSequence", "ReferencedPatientSequence",
    "OtherPatientIDsSequence", "PatientSpeciesCodeSequence", "PhysiciansOfRecordIdentificationSequence",
    "ReferringPhysicianIdentificationSequence", "IssuerOfAccessionNumberSequence",
)  # fmt: skip


def objects(tmp_path: Path, catalogue: Catalogue, edit: Any = None, **changes: Any) -> dict[str, Path]:
    """A mask of a series as each kind of object, by its writer."""
    series(tmp_path / "s", edit=edit, **changes)
    mask = blobs(only(tmp_path / "s", catalogue))
    for writer, name in WRITERS.items():
        write(mask, tmp_path / name, catalogue, LABELS, FACTS, writer=writer)
    return {writer: tmp_path / name for writer, name in WRITERS.items()}


def assert_strict(paths: dict[str, Path]) -> None:
    """A strict checker, where there is one, finds no error in any of them."""
    if shutil.which("dciodvfy"):
        assert {writer: errors for writer, path in paths.items() if (errors := complaints(path))} == {}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.filterwarnings("ignore")
def test_texts_of_every_character_set_arrive(name: str, tmp_path: Path, catalogue: Catalogue) -> None:
    coding, person = SETS[name]
    paths = objects(tmp_path, catalogue, SpecificCharacterSet=coding, PatientName=person, StudyDescription=person[:9])
    for path in paths.values():
        dataset = dcmread(path)
        assert (str(dataset.PatientName), dataset.SpecificCharacterSet) == (person, "ISO_IR 192")
        assert dataset.StudyDescription == person[:9]
    assert_strict(paths)


def test_empty_sequences_of_the_scan_stay_behind(tmp_path: Path, catalogue: Catalogue) -> None:
    def empty(_: int, dataset: Dataset) -> None:
        for name in SEQUENCES:
            setattr(dataset, name, [])

    paths = objects(tmp_path, catalogue, empty)
    for path in paths.values():
        assert not [name for name in SEQUENCES if name in dcmread(path)]
    assert_strict(paths)


@pytest.mark.filterwarnings("ignore")
def test_values_that_nobody_may_write_become_blank(tmp_path: Path, catalogue: Catalogue) -> None:
    odd = {
        "StudyDate": "", "StudyTime": "noon", "PatientBirthDate": "unknown", "PatientAge": "45", "PatientSex": "X",
        "PatientWeight": "", "StudyID": None, "AccessionNumber": None, "PatientName": None,
        "ReferringPhysicianName": ["A^B", "C^D"], "StudyDescription": "x" * 100, "PatientIdentityRemoved": "YES",
    }  # fmt: skip
    paths = objects(tmp_path, catalogue, PatientID="77", **odd)
    for path in paths.values():
        dataset = dcmread(path)
        found = [dataset.get(name) for name in ("StudyTime", "PatientBirthDate", "PatientSex", "StudyID")]
        assert all(value in ("", None) for value in found) and "PatientAge" not in dataset
        assert (dataset.PatientID, str(dataset.ReferringPhysicianName)) == ("77", "A^B")
        assert dataset.StudyDescription == "x" * 64 and dataset.get("DeidentificationMethod")
    assert_strict(paths)
