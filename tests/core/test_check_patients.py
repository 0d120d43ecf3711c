"""Tests of what the check says of patients: in two parts of a split, under two names, told by headers and names."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from checked_data import (
    AFFINE,
    CASE,
    as_decathlon,
    flow,
    found,
    image,
    judged,
    label,
    save,
    spoil,
    told,
)

from dicom_series import make_series
from voxgraft.checks.dataset import check_dataset
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.cases import Case, Dataset, Split
from voxgraft.datasets.dataset import find_dataset
from voxgraft.imaging.formats import signs
from voxgraft.imaging.volume import ImageRef


def stored_anew(path: Path, other: Path) -> None:
    loaded = nib.load(path)
    save(other, np.asarray(loaded.dataobj).astype(np.float32), loaded.affine + np.diag([1e-6] * 4), descrip=b"copy")


def reoriented(path: Path, other: Path) -> None:
    nib.save(nib.as_closest_canonical(nib.load(path)), other)


def scaled(path: Path, other: Path) -> None:
    array = np.asarray(nib.load(path).dataobj)
    save(other, (array * 3.7 + np.random.default_rng(0).normal(0, 2, array.shape)).astype(np.float32))


def mirrored(path: Path, other: Path) -> None:
    save(other, np.asarray(nib.load(path).dataobj)[::-1])


COPIES = {
    "stored anew": (stored_anew, "same-image", "error"),
    "reoriented": (reoriented, "turned-image", "error"),
    "mirrored": (mirrored, "turned-image", "error"),
    "scaled": (scaled, "near-duplicate", "warning"),
}


@pytest.mark.parametrize("name", COPIES)
def test_one_image_under_two_names_is_found(name: str, copy: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    make, code, severity = COPIES[name]
    make(image(copy, "P01"), image(copy, "P07"))
    (problem,) = told(copy, catalogue)
    assert (problem.code, problem.severity, problem.case) == (code, severity, "P01")
    assert "P01" in problem.message and "P07" in problem.message
    apart = (Split(("P01",), ("P07",)), Split(("P01", "P07"), ("P02", "P03", "P04")))
    checked = flow(tmp_path, copy, catalogue, **{"folds: 3": "by: dataset"})
    (problem,) = [one for one in judged(checked, catalogue, splits=apart) if one.code == code]
    assert "P01 is trained on while P07 validates" in problem.message
    (problem,) = [one for one in judged(checked, catalogue, splits=apart[::-1]) if one.code == code]
    assert "may share it" in problem.message


def test_one_mask_for_two_images_is_found(copy: Path, catalogue: Catalogue) -> None:
    shutil.copy(label(copy, "P01"), label(copy, "P07"))
    assert found(told(copy, catalogue)) == {("same-label", "warning", "P01")}


@pytest.mark.parametrize(
    ("names", "severity"),
    [
        (("P01", "p01"), "warning"),
        (("P01", "P1"), "warning"),
        (("P01", "P-01"), "warning"),
        (("P01", "P01_2"), "warning"),
        (("P01", "P01-followup"), "warning"),
        (("s7_1", "s7_2", "s8_1", "s8_2"), "note"),
        (("P01", "P10"), ""),
        (("case_001", "case_002", "case_003"), ""),
        (("site1_001", "site1_002"), ""),
    ],
)
def test_names_that_may_be_one_patient_are_found(names: tuple[str, ...], severity: str, catalogue: Catalogue) -> None:
    cases = tuple(Case(f"c{place}", name, (ImageRef(Path("gone")),)) for place, name in enumerate(names))
    problems = [one for one in check_dataset(Dataset(cases), catalogue).problems if one.code == "similar-patients"]
    assert {one.severity for one in problems} == ({severity} if severity else set())
    assert not any(name in one.message for one in problems for name in names)


def test_what_a_split_cannot_do_is_said(copy: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    checked = flow(tmp_path, copy, catalogue, **{"folds: 3": "folds: 12"})
    assert found(judged(checked, catalogue)) == {("small-validation", "note", None)}
    checked = flow(tmp_path, copy, catalogue, **{"folds: 3": "by: dataset"})
    assert found(judged(checked, catalogue)) == {("unusable-split", "error", None)}
    dataset = find_dataset(checked.data, catalogue)
    twins = tuple(replace(case, patient="twin") if case.id in ("P01", "P07") else case for case in dataset.cases)
    names = [case.id for case in dataset.cases]
    split = (Split(tuple(names[:6]), tuple(names[6:])),)
    assert found(judged(checked, catalogue, cases=twins, splits=split)) == {("patient-in-both", "error", None)}
    assert judged(flow(tmp_path, copy, catalogue), catalogue, cases=twins, splits=split) == []
    checked = flow(tmp_path, copy, catalogue, **{"folds: 3": "by: dataset"})
    for path in (copy / "labels").iterdir():
        if path.name != "P00.nii.gz":
            spoil(path, lambda a: np.minimum(a, 1))
    (problem,) = judged(checked, catalogue, splits=split)
    assert (problem.code, problem.severity) == ("one-sided-structure", "warning")
    assert "'core' is in no validation case" in problem.message


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("DOE^JOHN", {"a person's name"}),
        ("Doe, John", {"a person's name"}),
        ("scan_20240317", {"a date"}),
        ("17.03.2024", {"a date"}),
        ("1961-02-28_head", {"a date"}),
        ("mrn_00417", {"a patient's number"}),
        ("4471123", {"a patient's number"}),
        ("hippocampus_001", set()),
        ("brats_2013_pat0005_1", set()),
        ("CT.1.3.12.2.1107.5.1.4.60064.30000022120808113428000016573", set()),
        ("dcm2niix v1.0.20230411", set()),
        ("TE=2.8;Time=143012.500;phase=1", set()),
        ("FSL5.0", set()),
        ("36459-FLAIRreg-76244", set()),
        ("TCGA-02-0003_T1_Post", set()),
        ("20241345", {"a patient's number"}),
    ],
)
def test_text_that_tells_of_a_person_is_known_by_its_form(text: str, kinds: set[str]) -> None:
    assert set(signs(text)) == kinds


def test_where_headers_and_names_tell_of_patients_is_said_but_not_what(copy: Path, catalogue: Catalogue) -> None:
    voxels = np.asarray(nib.load(image(copy)).dataobj)
    save(image(copy), voxels, descrip=b"DOE^JOHN", db_name=b"Doe")
    problems = told(copy, catalogue)
    assert found(problems) == {("text-in-header", "note", CASE)} and len(problems) == 2
    assert {"descrip" in one.message for one in problems} == {True, False}
    save(image(copy), voxels)
    for part in ("images", "labels"):
        (copy / part / f"{CASE}.nii.gz").rename(copy / part / "Doe, Jane 19610228.nii.gz")
    problems = told(as_decathlon(copy, wall=1, core=2), catalogue)
    assert found(problems) == {("telling-name", "note", None)} and len(problems) == 2
    assert not any(word in one.message for one in problems for word in ("Doe", "DOE", "1961"))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (2, b"\x08\x00\x00\x00", "a DICOM header"),
        (6, b"seen 17.03.2024 by Roe^Ann", "a date"),
        (44, b"written 17.03.2024", ""),
        (44, b"<x>Roe^Ann</x>", "a person's name"),
    ],
)
def test_extensions_of_nifti_headers_are_looked_at(
    kind: Any, code: int, text: bytes, said: str, copy: Path, catalogue: Catalogue
) -> None:
    changed = kind(np.asarray(nib.load(image(copy)).dataobj), AFFINE)
    changed.header.extensions.append(nib.nifti1.Nifti1Extension(code, text))
    nib.save(changed, image(copy))
    problems = [one for one in told(copy, catalogue) if one.code == "text-in-header"]
    assert any(said in one.message for one in problems) if said else not problems
    assert all("extension of 1 case" in one.message and "Roe" not in one.message for one in problems)


def test_dicom_headers_with_names_are_counted(tmp_path: Path, catalogue: Catalogue) -> None:
    for index in range(3):
        array = np.random.default_rng(index).integers(0, 999, (12, 10, 8)).astype(np.int16)
        fields = {"PatientName": "Doe^John", "OperatorsName": "Roe^Ann"} if index else {"PatientName": ""}
        burned = {"BurnedInAnnotation": "YES"} if index == 2 else {}
        make_series(tmp_path / f"s{index}", array, np.diag([-1.0, -1.0, 2.0, 1.0]), PatientID="", **fields, **burned)
    problems = told(tmp_path, catalogue)
    (names,) = [one for one in problems if one.code == "names-in-header"]
    assert "2 of 3 cases" in names.message and "OperatorsName, PatientName" in names.message
    assert ("burned-in", "warning", None) in found(problems)
    assert not any(word in one.message for one in problems for word in ("Doe", "Roe"))


def test_keys_of_nrrd_headers_are_looked_at(copy: Path, catalogue: Catalogue) -> None:
    import SimpleITK as sitk

    changed = sitk.ReadImage(str(image(copy)))
    changed.SetMetaData("0010|0010", "Doe^John")
    (copy / "dataset.json").unlink()
    image(copy).unlink()
    sitk.WriteImage(changed, str(copy / "images" / f"{CASE}.nrrd"))
    problems = [one for one in told(copy, catalogue) if one.code == "text-in-header"]
    assert found(problems) == {("text-in-header", "note", CASE)} and "Doe" not in problems[0].message
