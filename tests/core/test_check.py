"""Tests of the data-set check: every fault is named with its case, none hides another, and sound data pass."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from datasets import boxes, workflow

from dicom_series import make_series
from voxgraft.checks import resources as room
from voxgraft.checks.dataset import check_dataset, check_path
from voxgraft.checks.problem import CaseProblem
from voxgraft.checks.voxels import thumbnail
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Options, Selected
from voxgraft.datasets.cases import Case, Dataset, LayoutSpec
from voxgraft.datasets.dataset import find_dataset, read_layout
from voxgraft.errors import BrokenPlugin, DataError, UsageError, WorkflowError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import ImageRef
from voxgraft.workflow.workflow import Workflow, read


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    return boxes(tmp_path / "data", cases=4)


def flow(folder: Path, data: Path, catalogue: Catalogue, **changes: str) -> Workflow:
    return read(workflow(folder, data, **changes), catalogue)


def judged(checked: Workflow, catalogue: Catalogue) -> list[CaseProblem]:
    """What the check says of a workflow's data, without what is only worth knowing."""
    findings = check_dataset(find_dataset(checked.data, catalogue), catalogue, checked)
    return [problem for problem in findings.problems if problem.severity != "note"]


def codes(problems: Any, *severities: str) -> set[tuple[str, str | None]]:
    return {(one.code, one.case) for one in problems if one.severity in (severities or ("error", "warning"))}


def respoil(path: Path, spoil: Callable[[Any], Any], affine: Any = None) -> None:
    """Write a NIfTI file again with other voxels or another affine."""
    image = nib.load(path)
    voxels = spoil(np.asarray(image.dataobj))
    nib.save(nib.Nifti1Image(voxels, image.affine if affine is None else affine(image.affine.copy())), path)


def test_a_case_that_is_left_out_is_nowhere(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    (data_set / "imagesTr" / "box_001.nii.gz").write_bytes(b"no scan")
    path = workflow(tmp_path, data_set)
    assert ("unreadable", "box_001") in codes(judged(read(path, catalogue), catalogue))
    without = read(path, catalogue, ["data.leave_out=box_001"])
    assert judged(without, catalogue) == []
    assert [case.id for case in find_dataset(without.data, catalogue).cases] == ["box_000", "box_002", "box_003"]


def test_only_cases_that_are_there_can_be_left_out_and_not_all(
    data_set: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    path = workflow(tmp_path, data_set)
    with pytest.raises(DataError, match="there is no case 'box_01'; did you mean 'box_001'"):
        find_dataset(read(path, catalogue, ["data.leave_out=[box_01]"]).data, catalogue)
    with pytest.raises(DataError, match="no case would be left"):
        find_dataset(read(path, catalogue, ["data.leave_out=[box_000, box_001, box_002, box_003]"]).data, catalogue)


def test_sound_data_have_no_problems(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    checked = flow(tmp_path, data_set, catalogue)
    assert judged(checked, catalogue) == []


def nan_voxels(array: Any) -> Any:
    array = array.astype(np.float32)
    array[0, 0, :3] = np.nan
    return array


IMAGE = {
    "nan-voxels": (nan_voxels, "warning", "3 voxels"),
    "constant-image": (lambda a: np.full_like(a, 7), "warning", "is 7"),
    "shape-mismatch": (lambda a: a[:-1], "error", "19x18x16 and 20x18x16"),
    "channel-count": (lambda a: np.stack([a, a], -1), "error", "2 channels"),
    "mixed-dimensions": (lambda a: a[:, :, 0], "error", "are 2D"),
}
LABEL = {
    "unnamed-label": (lambda a: np.where(a == 1, 9, a).astype(np.uint8), "error", "holds 9,"),
    "label-not-whole": (lambda a: a.astype(np.float32) * 0.5, "error", "whole"),
    "label-out-of-range": (lambda a: a.astype(np.int16) * -2, "error", "-2"),
    "empty-label": (lambda a: a * 0, "warning", "empty"),
    "unusable-label": (lambda a: np.stack([a, 1 - a], -1), "error", "which are not in data.labels"),
}


@pytest.mark.parametrize("code", [*IMAGE, *LABEL])
def test_a_fault_is_named_with_its_case(code: str, data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    spoil, severity, word = {**IMAGE, **LABEL}[code]
    respoil(data_set / ("imagesTr" if code in IMAGE else "labelsTr") / "box_001.nii.gz", spoil)
    checked = flow(tmp_path, data_set, catalogue)
    problems = judged(checked, catalogue)
    found = [one for one in problems if one.code == code]
    assert len(found) == 1 and found[0].severity == severity and word in found[0].message, problems
    assert found[0].case == (None if code == "mixed-dimensions" else "box_001")
    assert {one.case for one in problems} <= {None, "box_001"}


def test_a_label_beside_its_image_is_refused_and_the_distance_said(
    data_set: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    def shift(affine: Any) -> Any:
        affine[0, 3] += 2.5
        return affine

    respoil(data_set / "labelsTr" / "box_002.nii.gz", lambda a: a, shift)
    checked = flow(tmp_path, data_set, catalogue)
    (problem,) = judged(checked, catalogue)
    assert (problem.code, problem.severity, problem.case) == ("geometry-mismatch", "error", "box_002")
    assert "2.5 mm" in problem.message


def test_rounding_in_the_affine_is_no_fault(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    respoil(data_set / "labelsTr" / "box_002.nii.gz", lambda a: a, lambda affine: affine + 1e-5 * (affine != 0))
    checked = flow(tmp_path, data_set, catalogue)
    assert judged(checked, catalogue) == []


def test_one_bad_case_does_not_hide_the_others(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    whole = (data_set / "imagesTr" / "box_000.nii.gz").read_bytes()
    (data_set / "imagesTr" / "box_000.nii.gz").write_bytes(whole[: len(whole) // 2])
    (data_set / "labelsTr" / "box_001.nii.gz").write_bytes(b"no image at all")
    respoil(data_set / "labelsTr" / "box_003.nii.gz", LABEL["unnamed-label"][0])
    checked = flow(tmp_path, data_set, catalogue)
    problems = judged(checked, catalogue)
    assert ("unnamed-label", "box_003") in codes(problems, "error")
    assert {one.case for one in problems if one.severity == "error"} == {"box_000", "box_001", "box_003"}
    assert all(str(tmp_path) not in one.message for one in problems)


def test_pictures_of_a_scan_are_alike_at_any_scale_of_intensities() -> None:
    array = np.random.default_rng(0).normal(100, 20, (24, 22, 20)).astype(np.float32)
    for scale in (1e-30, 1e34):
        assert float(thumbnail(array) @ thumbnail(array * np.float32(scale))) == pytest.approx(1, abs=1e-5)


def test_copies_under_other_names_are_found(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    source = data_set / "imagesTr" / "box_000.nii.gz"
    nib.save(nib.load(source), data_set / "imagesTr" / "box_003.nii.gz")  # other bytes: gzip writes the time
    checked = flow(tmp_path, data_set, catalogue)
    (problem,) = judged(checked, catalogue)
    assert (problem.code, problem.severity) == ("same-image", "error")
    assert "box_000, box_003" in problem.message
    cases = find_dataset(checked.data, catalogue).cases
    one_patient = Dataset(tuple(Case(c.id, "p", c.images, c.label) for c in cases), labels=Labels.of({"box": 1}))
    assert codes(check_dataset(one_patient, catalogue).problems, "warning") == {("same-image", "box_000")}


def test_a_structure_that_nobody_drew_is_named(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    document = json.loads((data_set / "dataset.json").read_text())
    document["labels"]["2"] = "lesion"
    (data_set / "dataset.json").write_text(json.dumps(document))
    checked = flow(tmp_path, data_set, catalogue)
    (problem,) = judged(checked, catalogue)
    assert (problem.code, problem.severity, problem.case) == ("absent-label", "warning", None)
    assert "'lesion'" in problem.message


def test_only_empty_labels_are_an_error(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    for path in (data_set / "labelsTr").iterdir():
        respoil(path, LABEL["empty-label"][0])
    checked = flow(tmp_path, data_set, catalogue)
    assert ("no-foreground", None) in codes(judged(checked, catalogue), "error")


def test_a_spacing_far_from_the_others_is_asked_about(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    for part in ("imagesTr", "labelsTr"):
        respoil(data_set / part / "box_001.nii.gz", lambda a: a, lambda affine: affine @ np.diag([1, 1, 10, 1]))
    checked = flow(tmp_path, data_set, catalogue)
    (problem,) = judged(checked, catalogue)
    assert (problem.code, problem.severity, problem.case) == ("odd-spacing", "warning", "box_001")
    assert "1x1x15" in problem.message and "1x1x1.5" in problem.message


def test_too_few_patients_for_the_split_is_an_error(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    checked = flow(tmp_path, data_set, catalogue, **{"folds: 3": "folds: 9"})
    assert codes(judged(checked, catalogue)) == {("few-patients", None)}


def test_little_disk_and_little_memory_are_said(
    data_set: Path, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = flow(tmp_path, data_set, catalogue)
    monkeypatch.setattr(room, "COPIES", 10**12)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    found = codes(judged(checked, catalogue), "warning")
    assert {code for code, _ in found} == {"little-disk", "little-memory"}


def test_the_workflow_names_the_labels(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    checked = flow(tmp_path, data_set, catalogue, **{"modality: mr": "modality: mr\n  labels: {kidney: 1, cyst: 2}"})
    found = find_dataset(checked.data, catalogue)
    assert found.labels is not None and found.labels.names == ("kidney", "cyst")
    with pytest.raises(WorkflowError, match="the same value"):
        flow(tmp_path, data_set, catalogue, **{"modality: mr": "modality: mr\n  labels: {kidney: 1, cyst: 1}"})


def test_a_missing_folder_is_told_from_where_it_was_looked_for(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"'place/data/x'; 'place' has no 'data'.*now '{tmp_path.name}'") as raised:
        find_dataset(flow(tmp_path, Path("place/data/x"), catalogue).data, catalogue)
    assert str(tmp_path) not in str(raised.value)


class FakeOptions(Options):
    """No options."""


@pytest.mark.parametrize(
    ("dataset", "word"),
    [
        (Dataset(()), "no cases"),
        (Dataset((Case("a", "p", (ImageRef(Path("x")),)),) * 2), "'a'"),
        (Dataset((Case("a/b", "p", (ImageRef(Path("x")),)),)), "cannot name a folder"),
        (Dataset((Case("..", "p", (ImageRef(Path("x")),)),)), "cannot name a folder"),
        (Dataset((Case("a", "p", (ImageRef(Path("x")),) * 2),), channels=("1", "2", "3")), "3 channels"),
        (
            Dataset(
                (Case("a", "p", (ImageRef(Path("x")),)), Case("b", "p", (ImageRef(Path("x")),) * 2)),
                channels=("1", "2"),
            ),
            "case 'a' has 1 image files and case 'b' has 2",
        ),
        (ZeroDivisionError("plugin"), "ZeroDivisionError"),
        (PermissionError(13, "Permission denied", "secret"), "secret: cannot be read"),
    ],
)
def test_what_a_layout_gives_is_not_trusted(dataset: Any, word: str, catalogue: Catalogue) -> None:
    class Fake:
        def read(self) -> Dataset:
            if isinstance(dataset, Exception):
                raise dataset
            assert isinstance(dataset, Dataset)
            return dataset

    spec = LayoutSpec(name="fake", summary="", options=lambda: FakeOptions, build=lambda _: Fake())
    with pytest.raises(BrokenPlugin if isinstance(dataset, ZeroDivisionError) else DataError, match=word):
        read_layout(Selected(spec, FakeOptions(), "fake"), catalogue)


def test_a_folder_tells_its_layout_by_itself(data_set: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    dataset, findings = check_path(data_set, catalogue)
    assert len(dataset.cases) == 4 and codes(findings.problems) == set() and dataset.labels is not None
    assert findings.figures["layout"] == "decathlon"
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    (data_set / "imagesTr").rename(pairs / "images")
    (data_set / "labelsTr").rename(pairs / "labels")
    (pairs / "labels" / "box_002.nii.gz").unlink()
    dataset, findings = check_path(pairs, catalogue)
    assert len(dataset.cases) == 4 and codes(findings.problems) == {("missing-label", "box_002")}
    assert findings.problems[0].severity == "error" and findings.figures["layout"] == "pairs"
    dataset, findings = check_path(pairs / "images", catalogue)
    assert [case.id for case in dataset.cases] == [f"box_00{n}.nii.gz" for n in range(4)]
    assert codes(findings.problems) == set() and findings.figures["layout"] is None
    assert codes(findings.problems, "note") == {("no-labels", None), ("no-patients", None)}


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        check_path(tmp_path / "none", catalogue)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        check_path(tmp_path / "empty", catalogue)


def call(*args: object) -> Any:
    return CliRunner().invoke(main, ["check", *map(str, args)])


def test_the_command_prints_one_document_and_tells_the_outcome_by_its_code(data_set: Path, tmp_path: Path) -> None:
    good = call(workflow(tmp_path, data_set), "--json")
    document = json.loads(good.stdout)
    assert good.exit_code == 0 and document["ok"] is True and document["cases"] == 4
    assert {one["severity"] for one in document["problems"]} == {"note"}
    respoil(data_set / "labelsTr" / "box_001.nii.gz", LABEL["unnamed-label"][0])
    bad = call(data_set, "--json")
    document = json.loads(bad.stdout)
    assert bad.exit_code == 1 and document["ok"] is False and document["cases"] == 4
    (problem,) = [one for one in document["problems"] if one["severity"] != "note"]
    assert set(problem) == {"code", "severity", "case", "message", "fix"} and problem["case"] == "box_001"
    plain = call(data_set)
    assert plain.exit_code == 1 and "error: box_001: the label holds 9" in plain.stdout and "1 error" in plain.stdout


def test_a_warning_alone_is_no_failure(data_set: Path) -> None:
    respoil(data_set / "labelsTr" / "box_001.nii.gz", LABEL["empty-label"][0])
    done = call(data_set)
    assert done.exit_code == 0 and "4 cases, 0 errors, 1 warning" in done.stdout


def test_a_workflow_is_checked_with_its_changes(data_set: Path, tmp_path: Path) -> None:
    path = workflow(tmp_path, data_set)
    freeze = call(path, "--set", "transfer=[{use: freeze, until: 20%}]", "--json")
    assert freeze.exit_code == 1
    assert [one["code"] for one in json.loads(freeze.stdout)["problems"] if one["severity"] == "error"] == ["transfer"]
    teacher = ("--set", "transfer=[{use: mean-teacher}]", "--json")
    alone = call(path, *teacher)
    (problem,) = [one for one in json.loads(alone.stdout)["problems"] if one["severity"] == "error"]
    assert alone.exit_code == 1 and problem["code"] == "transfer" and problem["fix"] == ""
    assert "'mean-teacher' learns from unlabelled scans, and there are none: name some" in problem["message"]
    assert call(path, *teacher, "--set", "data.split={folds: 4, labelled: 2}").exit_code == 0, (
        "those left over are without labels"
    )
    gone = call(path, "--set", "data.layout.path=nowhere/at/all", "--json")
    assert gone.exit_code == 1 and json.loads(gone.stdout)["problems"][0]["code"] == "layout"


@pytest.mark.parametrize("target", ["none", "none.yaml", "bad.yaml"])
def test_a_wrong_call_has_code_2(target: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("voxgraft: 1\nname: x\n")
    for extra in ([], ["--json"]):
        done = call(tmp_path / target, *extra)
        assert done.exit_code == 2 and done.stdout == "" and target in done.stderr and "Traceback" not in done.stderr


def test_an_empty_folder_is_a_plain_error(tmp_path: Path) -> None:
    done = call(tmp_path)
    assert done.exit_code == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert json.loads(call(tmp_path, "--json").stdout)["ok"] is False


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_the_problem_of_its_case(data_set: Path, catalogue: Catalogue) -> None:
    (data_set / "imagesTr" / "box_001.nii.gz").chmod(0)
    _, findings = check_path(data_set, catalogue)
    assert codes(findings.problems) == {("unreadable", "box_001")}


def dicom_tree(folder: Path, labels: Path) -> None:
    """Three sound CT series with masks, one of which a slice is taken from afterwards."""
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    labels.mkdir()
    for index in range(3):
        array = np.random.default_rng(index).integers(0, 99, (12, 10, 8)).astype(np.int16)
        files = make_series(folder / f"s{index}", array, affine, PatientID=f"MRN-{index}", Modality="CT")
        mask = np.zeros(array.shape, np.uint8)
        mask[2:6, 3:7, 2:5] = 1
        nib.save(nib.Nifti1Image(mask, affine), labels / f"s{index}.nii.gz")
    files[4].unlink()


def test_a_broken_series_is_named_by_its_own_code_and_no_patient(tmp_path: Path, catalogue: Catalogue) -> None:
    dicom_tree(tmp_path / "tree", tmp_path / "masks")
    layout = f"{{use: dicom, path: {tmp_path}/tree, labels: {tmp_path}/masks}}"
    changes = {f"{{use: decathlon, path: {tmp_path}}}": layout, "modality: mr": "modality: mr\n  labels: {box: 1}"}
    checked = flow(tmp_path, tmp_path, catalogue, **changes)
    problems = judged(checked, catalogue)
    assert {code for code, _ in codes(problems, "error")} == {"missing-slice"}
    assert len([one for one in problems if one.code == "other-modality"]) == 2
    assert not any(word in one.message + str(one.case) for one in problems for word in ("MRN", "Test^Case"))


def test_no_label_at_all_is_said_once(tmp_path: Path, catalogue: Catalogue) -> None:
    dicom_tree(tmp_path / "tree", tmp_path / "masks")
    layout = f"{{use: dicom, path: {tmp_path}/tree}}"
    checked = flow(tmp_path, tmp_path, catalogue, **{f"{{use: decathlon, path: {tmp_path}}}": layout})
    problems = judged(checked, catalogue)
    assert [one.code for one in problems if "label" in one.code] == ["few-labels"]
