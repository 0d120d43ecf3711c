"""Tests of the check of whole data sets: what a run needs, layouts that are guessed, files that cannot be read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from checked_data import (
    CASE,
    SHAPE,
    as_decathlon,
    balls,
    flow,
    found,
    image,
    judged,
    label,
    moved,
    save,
    spoil,
    strays,
    told,
)

from voxgraft.checks import resources as room
from voxgraft.checks.dataset import check_dataset, check_path
from voxgraft.checks.masks import measure_mask
from voxgraft.checks.sides import pairs
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.dataset import find_dataset
from voxgraft.imaging.structures import Labels
from voxgraft.support import machine as memory


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
