"""What one series UID may join and what not: patients, studies, kinds of objects, copies, damage in another folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from dicom_series import make_series
from voxgraft.checks.guess import guess_dataset
from voxgraft.checks.look import look_at
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.read import scan
from voxgraft.imaging.volume import Item
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.arange(2 * 8 * 6 * 5, dtype=np.int16).reshape(2, 8, 6, 5)
AFFINE = np.diag([-1.0, -1.0, 2.5, 1.0])
CORONAL = np.array([[-1.0, 0, 0, 0], [0, 0, 2.5, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
UID = {"SeriesInstanceUID": "1.2.3"}


def codes(item: Item) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity) for problem in item.problems]


def pair(tmp_path: Path, start: float, first: dict[str, Any], second: dict[str, Any]) -> list[Path]:
    """Two volumes under one series UID, the second so many millimetres higher."""
    higher = AFFINE.copy()
    higher[2, 3] += start
    files = make_series(tmp_path / "a", ARRAY[0], AFFINE, **UID, **first)
    return files + make_series(tmp_path / "b", ARRAY[1], higher, **UID, **second)


def assert_two(items: list[Item]) -> None:
    assert len(items) == 2 and len({item.series for item in items}) == 2
    for item, array in zip(sorted(items, key=lambda item: item.path), ARRAY, strict=True):
        np.testing.assert_array_equal(DicomReader().read(item).array, array)


@pytest.mark.parametrize("start", [0, 12.5, 500])
@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("PatientID", "P1", "P2"),
        ("PatientName", "Doe^Jane", "Roe^Ann"),
        ("PatientBirthDate", "19500101", "19610203"),
        ("StudyInstanceUID", "1.2.8", "1.2.9"),
        ("PatientSex", "F", "M"),
        ("StudyDate", "20200101", "20210304"),
        ("Manufacturer", "SIEMENS", "GE MEDICAL SYSTEMS"),
    ],
)
def test_two_patients_under_one_uid_are_two_images(tmp_path: Path, start: float, name: str, one: str, two: str) -> None:
    times = [{name: value, "AcquisitionTime": time} for value, time in ((one, "101010"), (two, "121212"))]
    items = DicomReader().scan(pair(tmp_path, start, *times))
    assert_two(items)
    assert all(codes(item) == [("shared-uid", "warning")] and name in item.problems[0].message for item in items)
    assert not any(f" {word}" in item.problems[0].message for word in (one, two) for item in items), "nobody is named"


@pytest.mark.parametrize("start", [0, 12.5])
@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"Modality": "CT"}, {"Modality": "MR"}),
        ({"FrameOfReferenceUID": "1.2.8"}, {"FrameOfReferenceUID": "1.2.9"}),
        ({"PixelSpacing": [1, 1]}, {"PixelSpacing": [2, 2]}),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, {"ImageOrientationPatient": [0, 1, 0, -1, 0, 0]}),
    ],
)
def test_two_kinds_under_one_uid_are_two_images(
    tmp_path: Path, start: float, one: dict[str, Any], two: dict[str, Any]
) -> None:
    items = DicomReader().scan(pair(tmp_path, start, one, two))
    assert_two(items)
    assert all(codes(item) == [("split-series", "repair")] for item in items)


def test_groups_that_agree_in_size_alone_are_not_joined(tmp_path: Path) -> None:
    files = pair(tmp_path, 12.5, {"FrameOfReferenceUID": "1.2.8"}, {"FrameOfReferenceUID": "1.2.9"})
    small = make_series(tmp_path / "c", ARRAY[0, :4], AFFINE, **UID)
    assert sorted(item.shape for item in DicomReader().scan([*files, *small])) == [(4, 6, 5), (8, 6, 5), (8, 6, 5)]
    coronal = make_series(tmp_path / "d", ARRAY[0], CORONAL, **UID, FrameOfReferenceUID="1.2.8")
    assert len(DicomReader().scan([*files, *small, *coronal])) == 4


@pytest.mark.parametrize("other", ["P2", ""])
def test_a_stray_slice_of_another_patient_refuses_the_series(tmp_path: Path, other: str) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        slice_.PatientID = other if k == 4 else "P1"

    (item,) = DicomReader().scan(make_series(tmp_path, ARRAY[0], AFFINE, edit=edit))
    assert codes(item) == [("mixed-patient", "error")] and "PatientID (4, 1)" in item.problems[0].message


def test_half_a_scan_without_its_frame_of_reference_refuses_the_series(tmp_path: Path) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        if k > 2:
            del slice_.FrameOfReferenceUID

    six = np.concatenate([ARRAY[0], ARRAY[1][:, :, :1]], axis=2)
    (item,) = DicomReader().scan(make_series(tmp_path, six, AFFINE, edit=edit))
    assert codes(item) == [("mixed-frame", "error")]


def test_the_spelling_of_a_name_makes_no_second_patient(tmp_path: Path) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        slice_.PatientName = ("Doe^Jane", "DOE^JANE^^", "doe^jane")[k % 3]

    (item,) = DicomReader().scan(make_series(tmp_path, ARRAY[0], AFFINE, edit=edit))
    assert codes(item) == []


def test_two_patients_are_two_cases(catalogue: Catalogue, tmp_path: Path) -> None:
    pair(tmp_path, 0, {"PatientID": "P1"}, {"PatientID": "P2"})
    _, dataset = guess_dataset(tmp_path, catalogue)
    assert len({case.patient for case in dataset.cases}) == len({case.id for case in dataset.cases}) == 2
    assert [(one.code, one.severity) for one in dataset.problems] == [("shared-uid", "warning")]
    looks = [look_at(case, catalogue, None) for case in dataset.cases]
    assert [look.shape for look in looks] == [(8, 6, 5)] * 2


def again(files: list[Path], folder: Path, syntax: str = "", **changes: Any) -> list[Path]:
    """Copies with other headers."""
    folder.mkdir()
    for file in files:
        dataset = dcmread(file)
        for name, value in changes.items():
            setattr(dataset, name, value)
        if syntax:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(folder / file.name)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("several", [1, 5])
@pytest.mark.parametrize(
    "changes",
    [
        {"PatientName": "Corrected^Name"},
        {"InstitutionName": "elsewhere", "AcquisitionTime": "235959"},
        {"SOPInstanceUID": "", "InstanceNumber": 77},
        {"EchoTime": 5, "syntax": JPEGLSLossless},
    ],
)
def test_slices_that_were_sent_again_are_one(tmp_path: Path, several: int, changes: dict[str, Any]) -> None:
    files = make_series(tmp_path / "a", ARRAY[0], AFFINE, AcquisitionTime="101010")
    more = again(files[:several], tmp_path / "b", **changes)
    (item,) = DicomReader().scan([*more, *files])
    assert ("duplicate-file", "repair") in codes(item) and not item.errors
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY[0])


def test_new_instances_of_the_same_slices_are_one(tmp_path: Path) -> None:
    files = make_series(tmp_path / "a", ARRAY[0], AFFINE, **UID, AcquisitionTime="101010")
    more = make_series(tmp_path / "b", ARRAY[0], AFFINE, **UID, AcquisitionTime="101110")
    for some in (more, more[2:3]):
        (item,) = DicomReader().scan([*files, *some])
        assert codes(item) == [("duplicate-file", "repair")]
        np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY[0])
    blank = ARRAY.copy()
    blank[:, :, :, 4] = 0
    files = make_series(tmp_path / "c", blank[0], AFFINE, **UID, EchoTime=5)
    files += make_series(tmp_path / "d", blank[1], AFFINE, **UID, EchoTime=9)
    (item,) = DicomReader().scan(files)
    np.testing.assert_array_equal(DicomReader().read(item).array, blank, "a slice of air is not a copy of another")


def test_an_instance_with_other_voxels_is_refused(tmp_path: Path) -> None:
    files = make_series(tmp_path / "a", ARRAY[0], AFFINE)
    more = again(files[2:3], tmp_path / "b", RescaleIntercept=5)
    (item,) = DicomReader().scan([*files, *more])
    assert item.errors[0].code == "altered-copy" and "SOPInstanceUID" in item.errors[0].message


@pytest.mark.parametrize("name", ["{:04d}.dcm", "IM{:04d}"])
def test_a_link_to_a_slice_that_is_not_there_is_missed(catalogue: Catalogue, tmp_path: Path, name: str) -> None:
    files = make_series(tmp_path / "tree", ARRAY[0], AFFINE, name=name)
    shutil.move(files[4], tmp_path / "kept")
    files[4].symlink_to(tmp_path / "kept")
    (item,) = scan(tmp_path / "tree", catalogue)
    assert codes(item) == []
    (tmp_path / "kept").unlink()
    (item,) = scan(tmp_path / "tree", catalogue)
    assert codes(item) == [("truncated", "error")] and files[4].name in item.problems[0].message
    _, dataset = guess_dataset(tmp_path / "tree", catalogue)
    (look,) = [look_at(case, catalogue, None) for case in dataset.cases]
    assert [problem.code for problem in look.problems if problem.severity == "error"] == ["truncated"]


@pytest.mark.parametrize("kind", ["its pixels cut", "cut before its names", "each slice in a folder of its own"])
def test_a_slice_cut_in_another_folder_is_missed_by_check(catalogue: Catalogue, tmp_path: Path, kind: str) -> None:
    files = make_series(tmp_path / "a", ARRAY[0], AFFINE)
    make_series(tmp_path / "whole", ARRAY[1], AFFINE)
    (tmp_path / "b").mkdir()
    for k, file in enumerate(files):
        if kind == "each slice in a folder of its own":
            (tmp_path / f"f{k}").mkdir()
            files[k] = Path(shutil.move(file, tmp_path / f"f{k}"))
        elif k > (3 if kind == "its pixels cut" else 2):
            files[k] = Path(shutil.move(file, tmp_path / "b"))
    content = files[-1].read_bytes()
    files[-1].write_bytes(content[:-9] if kind == "its pixels cut" else content[:300])
    _, dataset = guess_dataset(tmp_path, catalogue)
    found = [
        [problem.code for problem in look_at(case, catalogue, None).problems if problem.severity == "error"]
        for case in dataset.cases
    ]
    assert sorted(found) == [[], ["truncated"]]
