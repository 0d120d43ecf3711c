"""Tests of each check: a fault planted in sound data is found under its code, in its case, and nothing else is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from checked_data import AFFINE, SHAPE, as_decathlon, balls, save, spoil
from datasets import workflow

from dicom_series import make_series
from voxgraft.checks import resources as room
from voxgraft.checks.dataset import check_dataset, check_path
from voxgraft.checks.guess import guess_dataset
from voxgraft.checks.look import look_at
from voxgraft.checks.masks import measure_mask
from voxgraft.checks.problem import CaseProblem
from voxgraft.checks.purpose import judge_voxels
from voxgraft.checks.sides import pairs
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.cases import Case, Dataset, Split
from voxgraft.datasets.dataset import find_dataset
from voxgraft.imaging.formats import signs
from voxgraft.imaging.structures import Labels, Region
from voxgraft.imaging.volume import ImageRef
from voxgraft.support import machine as memory
from voxgraft.workflow.workflow import Workflow, read

CASE = "P03"
Found = set[tuple[str, str, str | None]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_decathlon(balls(tmp_path_factory.mktemp("sound")), wall=1, core=2)


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def image(folder: Path, case: str = CASE) -> Path:
    return folder / "images" / f"{case}.nii.gz"


def label(folder: Path, case: str = CASE) -> Path:
    return folder / "labels" / f"{case}.nii.gz"


def told(folder: Path, catalogue: Catalogue) -> list[CaseProblem]:
    """Everything that is said of a folder, but that nothing tells the patients apart."""
    _, findings = check_path(folder, catalogue)
    assert not any(str(folder) in problem.message for problem in findings.problems)
    return [problem for problem in findings.problems if problem.code != "no-patients"]


def found(problems: list[CaseProblem]) -> Found:
    return {(one.code, one.severity, one.case) for one in problems}


def flow(folder: Path, data: Path, catalogue: Catalogue, **changes: str) -> Workflow:
    return read(workflow(folder, data, **changes), catalogue)


def judged(checked: Workflow, catalogue: Catalogue, **changes: Any) -> list[CaseProblem]:
    dataset = replace(find_dataset(checked.data, catalogue), **changes)
    problems = check_dataset(dataset, catalogue, checked).problems
    return [problem for problem in problems if problem.code != "no-patients"]


def test_sound_data_are_told_to_be_sound(sound: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    assert told(sound, catalogue) == []
    assert judged(flow(tmp_path, sound, catalogue), catalogue) == []


def moved(*shift: float) -> Callable[[Any], Any]:
    return lambda affine: affine + np.pad(np.array([shift]).T, ((0, 1), (3, 0)))


def turned(degrees: float) -> Callable[[Any], Any]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return lambda affine: np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ affine


GEOMETRY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], str, str]] = {
    "shifted": (lambda a: a, moved(2.5, 0, 0), "geometry-mismatch", "shifted by 2.5, 0, 0 mm"),
    "signs": (lambda a: a, lambda m: np.diag([-1, -1, 1, 1]) @ m, "geometry-mismatch", "opposite sign"),
    "bare": (lambda a: a, lambda m: np.eye(4), "geometry-mismatch", "no geometry"),
    "mirrored": (lambda a: a, lambda m: m @ np.diag([-1, 1, 1, 1]), "geometry-mismatch", "axis left-right round"),
    "spacing": (lambda a: a, lambda m: m @ np.diag([1, 1, 2, 1]), "geometry-mismatch", "1x1x3 mm, the image's 1x1x1.5"),
    "rotated": (lambda a: a, turned(5), "geometry-mismatch", "turned by 5 degrees"),
    "resampled": (lambda a: a[::2, ::2], lambda m: m @ np.diag([2, 2, 1, 1]), "shape-mismatch", "was resampled"),
    "cut": (
        lambda a: a[4:-4],
        moved(-4, 0, 0),
        "shape-mismatch",
        "cropped from",
    ),
    "padded": (lambda a: np.pad(a, 3), lambda m: m, "shape-mismatch", "cropped or padded"),
    "order": (lambda a: a.transpose(2, 1, 0), lambda m: m, "shape-mismatch", "another order"),
    "axes": (lambda a: a[:, :, 12], lambda m: m, "shape-mismatch", "2 axes"),
    "stranger": (lambda a: a[:9, :20], lambda m: m @ np.diag([2, 2, 4, 1]), "shape-mismatch", "of the same scan?"),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_how_a_mask_lies_beside_its_image_is_explained(name: str, copy: Path, catalogue: Catalogue) -> None:
    change, affine, code, word = GEOMETRY[name]
    spoil(label(copy), change, affine)
    errors = [one for one in told(copy, catalogue) if one.severity == "error"]
    assert found(errors) == {(code, "error", CASE)}
    assert word in errors[0].message and errors[0].fix


def test_a_mask_stored_in_another_order_of_axes_is_no_fault(copy: Path, catalogue: Catalogue) -> None:
    nib.save(nib.as_closest_canonical(nib.load(label(copy))), label(copy))
    assert told(copy, catalogue) == []


def few(array: Any) -> Any:
    """All but three voxels of the core become wall."""
    places = np.argwhere(array == 2)[3:]
    array = array.copy()
    array[tuple(places.T)] = 1
    return array


def strays(number: int) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.copy()
        array[2:26:2, 2, 2][:number] = 1
        return array

    return change


def column(array: Any) -> Any:
    array = array.copy()
    array[14:16, 13:15][array[14:16, 13:15] == 0] = 1
    return array


def half(array: Any) -> Any:
    array = array.copy()
    array[: SHAPE[0] // 2][array[: SHAPE[0] // 2] == 1] = 2
    return array


LABELS: dict[str, tuple[Callable[[Any], Any], str, str | None, set[str]]] = {
    "missing-structure": (lambda a: np.where(a == 2, 1, a), "warning", CASE, set()),
    "tiny-label": (few, "warning", CASE, {"fragmented-label"}),
    "odd-volume": (half, "warning", CASE, {"fragmented-label"}),
    "fragmented-label": (strays(12), "warning", CASE, set()),
    "full-label": (np.ones_like, "warning", CASE, {"missing-structure", "odd-volume", "at-border"}),
    "inverted-label": (lambda a: (a == 0) * 1, "warning", CASE, {"missing-structure", "odd-volume", "at-border"}),
    "at-border": (column, "note", None, set()),
    "empty-label": (np.zeros_like, "warning", CASE, set()),
}


@pytest.mark.parametrize("code", LABELS)
def test_a_strange_mask_is_found_under_its_code(code: str, copy: Path, catalogue: Catalogue) -> None:
    change, severity, case, beside = LABELS[code]
    spoil(label(copy), lambda a: change(a).astype(np.uint8))
    problems = told(copy, catalogue)
    assert (code, severity, case) in found(problems)
    assert {one.code for one in problems} <= {code, *beside}
    assert {one.case for one in problems} <= {None, CASE}


def test_a_single_stray_voxel_is_worth_a_note(copy: Path, catalogue: Catalogue) -> None:
    spoil(label(copy), strays(1))
    (problem,) = told(copy, catalogue)
    assert (problem.code, problem.severity, problem.case) == ("fragmented-label", "note", CASE)
    assert "smallest of 1 voxel" in problem.message


VALUES: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "interpolated": (lambda a: a + np.float32(0.37) * (a == 1), "label-not-whole", "interpolation"),
    "probabilities": (lambda a: (a / 2).astype(np.float32) * 0.9, "label-not-whole", "probabilities"),
    "infinite": (lambda a: np.where(a == 1, np.inf, a).astype(np.float32), "label-not-whole", "whole"),
    "negative": (lambda a: a.astype(np.int16) - 1, "label-out-of-range", "-1"),
    "high": (lambda a: a.astype(np.int32) * 70000, "label-out-of-range", "140000"),
    "jpeg": (lambda a: a * 60 + np.arange(SHAPE[2], dtype=np.uint8), "unnamed-label", "lossy compression"),
    "stranger": (lambda a: np.where(a == 1, 7, a).astype(np.uint8), "unnamed-label", "data.labels"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_mean_nothing_are_explained(name: str, copy: Path, catalogue: Catalogue) -> None:
    change, code, word = VALUES[name]
    spoil(label(copy), change)
    errors = [one for one in told(copy, catalogue) if one.severity == "error"]
    assert found(errors) == {(code, "error", CASE)} and word in errors[0].message


def test_values_between_known_ones_are_taken_for_interpolation(copy: Path, catalogue: Catalogue) -> None:
    document = json.loads((copy / "dataset.json").read_text())
    document["labels"] = {"0": "background", "1": "wall", "4": "core"}
    (copy / "dataset.json").write_text(json.dumps(document))
    for path in (copy / "labels").iterdir():
        spoil(path, lambda a: np.where(a == 2, 4, a))

    def seam(array: Any) -> Any:
        array = array.copy()
        array[tuple(np.argwhere(array == 1)[:20].T)] = 2
        return array

    spoil(label(copy), seam)
    (problem,) = told(copy, catalogue)
    assert (problem.code, problem.case) == ("unnamed-label", CASE) and "as after interpolation" in problem.message


def test_masks_of_0_and_255_come_with_the_way_to_name_them(tmp_path: Path, catalogue: Catalogue) -> None:
    as_decathlon(balls(tmp_path / "data", cases=3), ball=1)
    for path in (tmp_path / "data" / "labels").iterdir():
        spoil(path, lambda a: (a > 0).astype(np.uint8) * 255)
    errors = [one for one in told(tmp_path / "data", catalogue) if one.severity == "error"]
    assert {one.code for one in errors} == {"unnamed-label"} and len(errors) == 3
    assert all("255" in one.message and "from: [255]" in one.message for one in errors)


def test_regions_and_ignored_voxels_are_judged(copy: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    dataset = guess_dataset(copy, catalogue)[1]
    assert dataset.labels is not None
    regions = (Region("whole", (1, 2)), Region("rim", (3,)))
    changed = replace(dataset, labels=replace(dataset.labels, regions=regions))
    problems = [one for one in check_dataset(changed, catalogue).problems if one.code != "no-patients"]
    assert found(problems) == {("absent-region", "warning", None)} and "'rim'" in problems[0].message
    spoil(label(copy), lambda a: np.where(np.arange(SHAPE[2]) < 2, 9, a).astype(np.uint8))
    changed = replace(dataset, labels=replace(dataset.labels, ignore=(9,)))
    problems = [one for one in check_dataset(changed, catalogue).problems if one.code != "no-patients"]
    assert found(problems) == {("ignored-label", "note", None)} and "1 of 12" in problems[0].message


def test_a_structure_that_patches_seldom_meet_is_noted(copy: Path, catalogue: Catalogue) -> None:
    as_decathlon(copy, wall=1, core=2, lesion=3)
    for place, path in enumerate((copy / "labels").iterdir()):

        def dot(array: Any, place: int = place) -> Any:
            array = array.copy()
            array[1, 1 + place, 1] = 3
            return array

        spoil(path, dot)
    (problem,) = told(copy, catalogue)
    assert (problem.code, problem.severity) == ("rare-structure", "note") and "'lesion'" in problem.message


def repeated(array: Any) -> Any:
    return np.tile(array, (1, 1, 4)) if array.dtype == np.int16 else np.pad(array, ((0, 0), (0, 0), (0, 72)))


def test_a_scan_of_another_extent_is_noted(copy: Path, catalogue: Catalogue) -> None:
    spoil(image(copy), repeated)
    spoil(label(copy), repeated)
    assert found(told(copy, catalogue)) == {("odd-size", "note", CASE)}


IMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "odd-intensity": (lambda a: a.astype(np.int32) * 1000, "note"),
    "clipped-image": (lambda a: np.minimum(a, 130), "warning"),
    "nan-voxels": (lambda a: np.where(a > 250, np.inf, a).astype(np.float32), "warning"),
    "constant-image": (lambda a: a * 0 + 7, "warning"),
}


@pytest.mark.parametrize("code", IMAGES)
def test_a_strange_image_is_found_under_its_code(code: str, copy: Path, catalogue: Catalogue) -> None:
    change, severity = IMAGES[code]
    spoil(image(copy), change)
    assert found(told(copy, catalogue)) == {(code, severity, CASE)}


def test_a_volume_of_one_slice_is_noted(copy: Path, catalogue: Catalogue) -> None:
    for path in (image(copy), label(copy)):
        spoil(path, lambda a: a[:, :, 12:13])
    assert ("flat-image", "warning", CASE) in found(told(copy, catalogue))


HOUNSFIELD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "shifted": (lambda a: (a + 1200).astype(np.uint16), "subtract 1024"),
    "grey": (lambda a: np.clip((a + 1000) / 8, 0, 255).astype(np.uint8), "as a picture's"),
    "normalised": (lambda a: (a / 500).astype(np.float32), "normalised"),
}


@pytest.mark.parametrize("name", HOUNSFIELD)
def test_a_ct_without_hounsfield_units_is_named(name: str, copy: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    for path in (copy / "images").iterdir():
        spoil(path, lambda a: (a * 6 - 1000).clip(-1024).astype(np.int16))
    (copy / "dataset.json").write_text((copy / "dataset.json").read_text().replace("MRI", "CT"))
    checked = flow(tmp_path, copy, catalogue, **{"modality: mr": "modality: ct"})
    assert judged(checked, catalogue) == []
    change, word = HOUNSFIELD[name]
    spoil(image(copy), change)
    problems = [one for one in judged(checked, catalogue) if one.code != "odd-intensity"]
    assert found(problems) == {("not-hounsfield", "warning", CASE)} and word in problems[0].message


def test_images_of_another_modality_than_the_workflow_are_named(
    copy: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    checked = flow(tmp_path, copy, catalogue, **{"modality: mr": "modality: ct"})
    assert ("other-modality", "warning", None) in found(judged(checked, catalogue))
    spoil(image(copy), lambda a: (a * 6 - 1500).clip(-1024).astype(np.int16))
    problems = judged(flow(tmp_path, copy, catalogue), catalogue)
    assert ("other-modality", "warning", CASE) in found(problems)


def test_a_channel_that_is_called_a_ct_may_hold_hounsfield_units(
    copy: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    spoil(image(copy), lambda a: (a * 6 - 1500).clip(-1024).astype(np.int16))
    checked = flow(tmp_path, copy, catalogue)
    dataset = find_dataset(checked.data, catalogue)
    (look,) = (look_at(case, catalogue, None) for case in dataset.cases if case.id == CASE)
    assert [one.code for one in judge_voxels(look, ("PT",), ("pet",))] == ["other-modality"]
    assert list(judge_voxels(look, ("PT",), ("CT",))) == []


def two_channels(folder: Path, tmp_path: Path, catalogue: Catalogue) -> list[CaseProblem]:
    """The data set with a second channel in files of its own."""
    (folder / "dataset.json").unlink()
    layout = f"{{use: pairs, path: {folder}, images: {{a: 'images/{{case}}.nii.gz', b: 'second/{{case}}.nii.gz'}}}}"
    changes = {f"{{use: decathlon, path: {folder}}}": layout, "modality: mr": "modality: mr\n  labels: {w: 1, c: 2}"}
    return judged(flow(tmp_path, folder, catalogue, **changes), catalogue)


@pytest.mark.parametrize("code", ["", "same-channels", "channel-mismatch"])
def test_channels_that_do_not_fit_each_other_are_named(
    code: str, copy: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    shutil.copytree(copy / "images", copy / "second")
    for path in (copy / "second").iterdir():
        spoil(path, lambda a: 400 - a)
    second = copy / "second" / f"{CASE}.nii.gz"
    if code == "same-channels":
        shutil.copy(image(copy), second)
    elif code == "channel-mismatch":
        spoil(second, affine=moved(0, 4, 0))
    problems = two_channels(copy, tmp_path, catalogue)
    assert found(problems) == ({(code, "error", CASE)} if code else set())
    assert code != "channel-mismatch" or "shifted by 0, 4, 0 mm" in problems[0].message


def stored_anew(path: Path, other: Path) -> None:
    loaded = nib.load(path)
    save(other, np.asarray(loaded.dataobj).astype(np.float32), loaded.affine + np.diag([1e-6] * 4), descrip=b"copy")


def reoriented(path: Path, other: Path) -> None:
    nib.save(nib.as_closest_canonical(nib.load(path)), other)


def mirrored(path: Path, other: Path) -> None:
    save(other, np.asarray(nib.load(path).dataobj)[::-1])


def scaled(path: Path, other: Path) -> None:
    array = np.asarray(nib.load(path).dataobj)
    save(other, (array * 3.7 + np.random.default_rng(0).normal(0, 2, array.shape)).astype(np.float32))


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


def test_what_a_run_needs_is_told_in_figures(
    copy: Path, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = flow(tmp_path, copy, catalogue)
    figures = check_dataset(find_dataset(checked.data, catalogue), catalogue, checked).figures["room"]
    voxels = 12 * float(np.prod(SHAPE))
    assert figures["disk"] == voxels * 5 + room.PACKAGE and figures["disk_free"] > 0 < figures["memory_free"]
    monkeypatch.setattr(room, "free_memory", lambda: 1 << 20)
    monkeypatch.setattr(room, "free_gpu_memory", lambda: 1 << 30)
    checked = flow(tmp_path, copy, catalogue, **{"device: cpu": "device: auto"})
    problems = judged(checked, catalogue)
    assert {one.code for one in problems} == {"little-memory", "little-gpu-memory"}
    assert any("1 GiB of memory free" in one.message for one in problems)


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    group = tmp_path / "system" / "job"
    group.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/system/job\n")
    for name, text in {"memory.max": "max", "memory.current": "500"}.items():
        (group / name).write_text(text)
    for name, text in {"memory.max": "1000", "memory.current": "700", "memory.stat": "inactive_file 300\n"}.items():
        (group.parent / name).write_text(text)
    assert list(memory._allowed(tmp_path, tmp_path / "own")) == [600]
    assert list(memory._allowed(tmp_path / "none", tmp_path / "none")) == []


def test_a_single_case_is_checked(tmp_path: Path, catalogue: Catalogue) -> None:
    folder = as_decathlon(balls(tmp_path / "data", cases=1), wall=1, core=2)
    assert told(folder, catalogue) == []
    assert found(judged(flow(tmp_path, folder, catalogue), catalogue)) == {("few-labels", "error", None)}


def test_a_data_set_of_one_image_under_many_names_is_told_once(copy: Path, catalogue: Catalogue) -> None:
    for part in ("images", "labels"):
        for path in (copy / part).iterdir():
            if path.name != "P00.nii.gz":
                shutil.copy(copy / part / "P00.nii.gz", path)
    (problem,) = told(copy, catalogue)
    assert (problem.code, problem.severity) == ("same-image", "error") and "12 cases" in problem.message


def test_files_that_cannot_be_read_are_rows_of_their_cases(copy: Path, catalogue: Catalogue) -> None:
    image(copy, "P00").write_bytes(b"")
    image(copy, "P01").write_bytes(image(copy, "P01").read_bytes()[:500])
    label(copy, "P02").write_bytes(b"\x1f\x8b" + b"\0" * 99)
    header = bytearray(348)
    image(copy, "P04").write_bytes(bytes(header))
    problems = told(copy, catalogue)
    assert {one.severity for one in problems} == {"error"}
    assert sorted(str(one.case) for one in problems) == ["P00", "P01", "P02", "P04"]


def test_images_of_numbers_that_are_none_do_not_stop_the_check(copy: Path, catalogue: Catalogue) -> None:
    spoil(image(copy), lambda a: np.where(a > np.median(a), np.nan, a).astype(np.float32))
    spoil(image(copy, "P05"), lambda a: np.full(a.shape, np.nan, np.float32))
    said = found(told(copy, catalogue))
    assert ("nan-voxels", "warning", CASE) in said and ("unreadable-image", "error", "P05") in said


def test_labels_that_nobody_names_are_counted_by_their_values(copy: Path, catalogue: Catalogue) -> None:
    (copy / "dataset.json").unlink()
    dataset, findings = check_path(copy, catalogue)
    assert dataset.labels is None and {row["value"] for row in findings.figures["structures"]} == {1, 2}
    assert all(row["masks"] == 12 and 0 < row["share"] < 0.1 for row in findings.figures["structures"])


def test_a_table_of_two_raters_is_known_and_checked_as_what_most_say(
    copy: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    (copy / "dataset.json").unlink()
    (copy / "images").rename(copy / "scans")
    rows = [f"scans/{name}.nii.gz,labels/{name}.nii.gz,labels/{name}.nii.gz" for name in ("P00", "P01", "P02")]
    (copy / "cases.csv").write_text("\n".join(["image,label_ann,label_bob", *rows]))
    dataset, findings = check_path(copy / ".", catalogue)
    assert findings.figures["layout"] == "csv" and len(dataset.cases) == 3
    assert {one.code for one in findings.problems} <= {"note", "no-patients"}
    assert any("several raters" in one.message for one in findings.problems)
    assert {row["value"] for row in findings.figures["structures"]} == {1, 2}


def test_masks_of_one_structure_a_file_are_judged_like_label_maps(
    copy: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    (copy / "dataset.json").unlink()
    for path in list((copy / "labels").iterdir()):
        array = np.asarray(nib.load(path).dataobj)
        folder = copy / "labels" / path.name.removesuffix(".nii.gz")
        folder.mkdir()
        save(folder / "wall.nii.gz", (array == 1).astype(np.uint8))
        save(folder / "core.nii.gz", (array == 2).astype(np.uint8))
        path.unlink()
    layout = f"{{use: pairs, path: {copy}, labels: 'labels/{{case}}/{{structure}}.nii.gz'}}"
    changes = {
        f"{{use: decathlon, path: {copy}}}": layout,
        "modality: mr": "modality: mr\n  labels: {wall: 1, core: 2}",
    }
    checked = flow(tmp_path, copy, catalogue, **changes)
    assert judged(checked, catalogue) == []
    spoil(copy / "labels" / CASE / "wall.nii.gz", strays(12))
    assert found(judged(checked, catalogue)) == {("fragmented-label", "warning", CASE)}
    spoil(copy / "labels" / CASE / "core.nii.gz", affine=moved(0, 0, 9))
    (problem,) = judged(checked, catalogue)
    assert (problem.code, problem.severity, problem.case) == ("unusable-label", "error", CASE)
    assert "9 mm" in problem.message


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["left kidney", "right kidney"], [(1, 2)]),
        (["lung_upper_lobe_left", "Lung_Upper_Lobe_Right"], [(1, 2)]),
        (["hippocampus_l", "hippocampus_r"], [(1, 2)]),
        (["right", "left"], [(2, 1)]),
        (["left atrium", "right ventricle"], []),
        (["cleft", "cright"], []),
        (["L.Hippocampus", "R.Hippocampus"], [(1, 2)]),
        (["KidneyRight", "KidneyLeft"], [(2, 1)]),
        (["kidneyL", "kidneyR"], [(1, 2)]),
        (["ctx-lh-insula", "ctx-rh-insula"], [(1, 2)]),
        (["Lt lung", "Rt lung"], [(1, 2)]),
        (["Niere links", "Niere rechts"], [(1, 2)]),
        (["left_rib_1", "right_rib_2", "right_rib_1"], [(1, 3)]),
        (["vertebra L1", "vertebra R1"], []),
        (["left to right shunt", "right to left shunt"], []),
    ],
)
def test_structures_of_two_sides_are_known_by_their_names(names: list[str], found: list[tuple[int, int]]) -> None:
    assert pairs(Labels.of({name: place for place, name in enumerate(names, 1)})) == found


@pytest.mark.parametrize("swapped", [False, True])
def test_structures_on_the_wrong_side_are_named(swapped: bool, tmp_path: Path, catalogue: Catalogue) -> None:
    folder = balls(tmp_path / "data", cases=3)
    for path in (folder / "labels").iterdir():

        def split(array: Any) -> Any:
            half = np.arange(SHAPE[0])[:, None, None] < SHAPE[0] // 2  # the first axis of the files grows to the left
            return np.where(array > 0, np.where(half, 2, 1), 0).astype(np.uint8)

        spoil(path, split)
    names = {"left": 2, "right": 1} if swapped else {"left": 1, "right": 2}
    problems = told(as_decathlon(folder, **names), catalogue)
    assert {one.code for one in problems} == ({"sides-swapped"} if swapped else set())
    assert not swapped or ("'left' lies" in problems[0].message and len(problems) == 3)


def test_mutated_files_never_stop_the_check(tmp_path: Path, catalogue: Catalogue) -> None:
    folder = balls(tmp_path / "data", cases=2)
    rng = np.random.default_rng(1)
    for part in ("images", "labels"):
        whole = nib.load(folder / part / "P00.nii.gz").to_bytes()
        for number in range(60):
            changed = bytearray(whole)
            for place in rng.integers(0, 352, rng.integers(1, 6)):
                changed[place] = rng.integers(0, 256)
            (folder / part / f"M{number:02d}.nii").write_bytes(changed[: rng.choice([len(whole), 352, 5000])])
    findings = check_path(folder, catalogue)[1]
    assert findings.cases == 62 and not findings.ok
    assert {one.case for one in findings.problems if one.code in ("unreadable", "truncated")} <= {
        f"M{number:02d}" for number in range(60)
    }


def test_overlapping_structures_are_measured_each_by_itself() -> None:
    labels = replace(Labels.of({"whole": 1, "part": 2}), ignore=(9,), overlap="keep")
    whole, part = np.zeros((2, 9, 8, 7), np.uint8)
    whole[2:6, 2:6, 2:6], part[3:5, 3:5, :2] = 1, 1
    left_out = labels.ignored
    assert left_out is not None
    whole[8], part[8] = left_out, left_out
    mask = measure_mask(np.stack([whole, part]), 3, labels)
    assert {value: (one.voxels, one.parts) for value, one in mask.structures.items()} == {1: (64, 1), 2: (8, 1)}
    assert mask.structures[2].faces == ("inferior",) and not mask.structures[1].faces
    assert (mask.covered, mask.ignored, mask.size) == (72, 56, 504)


def test_raw_data_of_nnunet_and_bids_are_known(copy: Path, catalogue: Catalogue) -> None:
    nnunet, bids = copy / "nnunet", copy / "bids"
    for part in (nnunet / "imagesTr", nnunet / "labelsTr"):
        part.mkdir(parents=True)
    for name in ("P00", "P01"):
        shutil.copy(image(copy, name), nnunet / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copy(label(copy, name), nnunet / "labelsTr" / f"{name}.nii.gz")
        (bids / f"sub-{name}" / "anat").mkdir(parents=True)
        shutil.copy(image(copy, name), bids / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz")
    document = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "wall": 1, "core": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (nnunet / "dataset.json").write_text(json.dumps(document))
    (bids / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.9.0"}))
    for folder, layout in ((nnunet, "nnunet"), (bids, "bids")):
        dataset, findings = check_path(folder, catalogue)
        assert findings.figures["layout"] == layout and len(dataset.cases) == 2 and findings.ok


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("axes", [2, 3])
def test_a_mask_that_steps_share_is_measured_as_any_other(kind: type, axes: int) -> None:
    """Read-only, and filling its box: the library that counts pieces takes no such array."""
    array = np.asfortranarray(np.ones((4, 5, 6)[:axes], kind))
    array[1:3] = 2
    plain = measure_mask(array.copy(order="F"), axes, None)
    array.flags.writeable = False
    assert measure_mask(array, axes, None) == plain
