"""Tests of what is not delivered: pixels and texts that may name the patient, and names that survived."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from deidentify_scans import assert_silent, call, planted, results, run
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

STATES = ("written", "failed", "quarantined", "duplicates", "directories", "not_dicom")


def test_a_name_within_the_code_stream_is_found(tmp_path: Path) -> None:
    files = planted(tmp_path / "plain", n=1)
    dataset = pydicom.dcmread(files[0])
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x64 comment: Wilhelmina \xff\xd9"])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    (tmp_path / "in").mkdir()
    dataset.save_as(tmp_path / "in" / "a.dcm")
    told = run(tmp_path / "in", tmp_path / "out")
    assert told["rules"] == {"identity-left": 1} and results(tmp_path / "out") == []


def test_presentation_states_pass_without_texts_only(tmp_path: Path) -> None:
    def state(text: bool) -> Callable[[int, Dataset], None]:
        def edit(_: int, dataset: Dataset) -> None:
            dataset.SOPClassUID, dataset.Modality = pydicom.uid.GrayscaleSoftcopyPresentationStateStorage, "PR"
            del dataset.PixelData, dataset.ImageType
            note = Dataset()
            note.GraphicLayer = "LAYER"
            if text:
                words = Dataset()
                words.UnformattedTextValue = "seen by Dr Nobody"
                note.TextObjectSequence = Sequence([words])
            dataset.GraphicAnnotationSequence = Sequence([note])

        return edit

    planted(tmp_path / "in" / "a", state(False), n=1)
    planted(tmp_path / "in" / "b", state(True), n=1)
    told = call(tmp_path / "in", tmp_path / "out")
    assert (told["written"], told["rules"]) == (1, {"graphic-text": 1})
    assert "GraphicAnnotationSequence" not in pydicom.dcmread(results(tmp_path / "out")[0])


def test_pixels_that_may_show_a_name_are_held_back(tmp_path: Path) -> None:
    def spoil(**changes: Any) -> Callable[[int, Dataset], None]:
        def edit(_: int, dataset: Dataset) -> None:
            for name, value in changes.items():
                setattr(dataset, name, value)

        return edit

    uid = pydicom.uid
    cases = {
        "burned-in": spoil(BurnedInAnnotation="YES"),
        "screen-or-camera": spoil(SOPClassUID=uid.SecondaryCaptureImageStorage),
        "not-original": spoil(ImageType=["DERIVED", "SECONDARY"]),
        "overlay-in-pixels": lambda _, dataset: dataset.add_new(0x60020102, "US", 14),
        "screen-save": spoil(ImageType=["ORIGINAL", "SECONDARY", "SCREEN SAVE"]),
        "document": spoil(SOPClassUID=uid.EncapsulatedPDFStorage),
        "waveform": spoil(SOPClassUID="1.2.840.10008.5.1.4.1.1.9.1.1"),
        "report-text": spoil(SOPClassUID=uid.BasicTextSRStorage),
        "private-object": spoil(SOPClassUID="1.3.12.2.1107.5.9.1"),
        "raw-data": spoil(SOPClassUID=uid.RawDataStorage),
    }
    for name, edit in cases.items():
        planted(tmp_path / "in" / name, edit, n=1)
    planted(tmp_path / "in" / "us", spoil(Modality="US"), n=1)
    planted(tmp_path / "in" / "good", n=1)
    told = call(tmp_path / "in", tmp_path / "out", "--quarantine", tmp_path / "held")
    assert told["rules"] == dict(sorted({**dict.fromkeys(cases, 1), "screen-or-camera": 2}.items()))
    assert told["written"] == 1 == len(results(tmp_path / "out"))
    copies = list((tmp_path / "held").rglob("*.dcm"))
    assert len(copies) == 11 and all(path.stat().st_mode & 0o077 == 0 for path in copies)
    with (tmp_path / "held" / "reasons.csv").open() as file:
        assert {row["rule"] for row in csv.DictReader(file)} == set(cases)
    assert_silent(tmp_path / "out")
    looked = call(tmp_path / "in", tmp_path / "looked", "--pixels-checked")
    assert looked["written"] == 6  # those that were only suspected
    assert "burned-in" in looked["rules"] and "report-text" in looked["rules"]


def test_a_name_that_survives_keeps_its_file_back(tmp_path: Path) -> None:
    def hide(_: int, dataset: Dataset) -> None:
        dataset.ReceiveCoilName = "coil of WILHELMINA"

    planted(tmp_path / "in" / "a", hide, n=1)
    planted(tmp_path / "in" / "b", n=1)
    told = call(tmp_path / "in", tmp_path / "out", code=3)
    assert (told["written"], told["rules"]) == (1, {"identity-left": 1})
    (held,) = [one for one in told["files"] if one["state"] == "quarantined"]
    assert "ReceiveCoilName" in held["reason"] and "ilhelm" not in json.dumps(told)
    assert_silent(tmp_path / "out")


def test_an_id_in_a_kept_description_keeps_the_file_back(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=1)
    told = run(tmp_path / "in", tmp_path / "out", "--descriptors", "keep")
    assert told["rules"] == {"identity-left": 1} and results(tmp_path / "out") == []


def test_a_kept_description_is_not_called_the_profile(tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.StudyDescription = dataset.SeriesDescription = "Protocol X"

    planted(tmp_path / "in", edit, n=1)
    call(tmp_path / "in", tmp_path / "out", "--descriptors", "keep")
    found = pydicom.dcmread(results(tmp_path / "out")[0])
    assert found.StudyDescription == "Protocol X" and "DeidentificationMethodCodeSequence" not in found
    assert "not the profile" in found.DeidentificationMethod


@pytest.mark.parametrize("name", ["Li^Bo", "Ray^Max", "Head^Neck", "Axial^Mary", "^^^^", "", "Siemens^Ct"])
def test_short_and_common_names_do_not_hold_everything_back(name: str, tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID = name, "7"
        dataset.Manufacturer, dataset.BodyPartExamined = "SIEMENS", "HEAD"
        dataset.StudyDescription = dataset.SeriesDescription = "array"
        dataset.SeriesNumber = 7

    planted(tmp_path / "in", edit, n=1)
    assert call(tmp_path / "in", tmp_path / "out")["written"] == 1


@pytest.mark.parametrize(
    ("charset", "name", "text"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "撮影 山田 殿"),
        ("ISO_IR 192", "Müller^Jörg", "Coil MULLER"),
        ("ISO_IR 144", "Иванов^Пётр", "катушка иванов"),
        ("GB18030", "Wang^XiaoDong=王^小东", "王小东"),
    ],
)
def test_names_of_every_script_are_found(charset: Any, name: str, text: str, tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = charset, name
        dataset.ReceiveCoilName = text

    planted(tmp_path / "in", edit, n=1)
    assert run(tmp_path / "in", tmp_path / "out")["rules"] == {"identity-left": 1}


def test_no_mutation_of_a_file_ends_the_call_or_lets_the_patient_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (good,) = planted(tmp_path / "good", n=1)
    rng, data = np.random.default_rng(5), good.read_bytes()
    for k in range(80):
        mutated = bytearray(data[: rng.integers(200, len(data))] if k % 3 == 0 else data)
        for place in rng.integers(132, len(mutated), rng.integers(1, 9)):
            mutated[place] = rng.integers(256)
        (tmp_path / "in" / f"{k:03}.dcm").write_bytes(mutated)
    told = run(tmp_path / "in", tmp_path / "out")
    assert told["written"] > 10 and told["failed"] > 10 and sum(map(told.get, STATES)) == 80
    for path in results(tmp_path / "out"):
        text = path.read_bytes().decode("latin-1").casefold()
        assert "wilhelmina" not in text and "mrn-778" not in text


def test_a_value_that_swallowed_the_names_behind_it_fails_its_file(tmp_path: Path) -> None:
    (good,) = planted(tmp_path / "good", n=1, SliceThickness=2)
    data = good.read_bytes()
    at = data.index(b"\x18\x00\x50\x00DS")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(data[: at + 6] + (3000).to_bytes(2, "little") + data[at + 8 :])
    told = run(tmp_path / "in", tmp_path / "out")
    (one,) = told["files"]
    assert one["state"] == "failed" and "SliceThickness" in one["reason"] and "Doe" not in json.dumps(told)


def test_a_file_that_names_no_patient_at_all_is_not_taken_for_clean(tmp_path: Path) -> None:
    planted(tmp_path / "in" / "none", lambda _, d: [d.pop(tag) for tag in (0x00100010, 0x00100020)] and None, n=1)
    planted(tmp_path / "in" / "empty", lambda _, d: d.update({"PatientName": "", "PatientID": ""}), n=1)
    told = run(tmp_path / "in", tmp_path / "out")
    reasons = [one["reason"] for one in told["files"] if one["state"] == "failed"]
    assert len(reasons) == 1 and "neither" in reasons[0]
