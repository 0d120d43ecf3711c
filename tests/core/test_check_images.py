"""Tests of what the check says of images and of channels that do not fit each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checked_data import (
    CASE,
    flow,
    found,
    image,
    judged,
    label,
    moved,
    spoil,
    told,
)

from voxgraft.checks.look import look_at
from voxgraft.checks.problem import CaseProblem
from voxgraft.checks.purpose import judge_voxels
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.dataset import find_dataset


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
