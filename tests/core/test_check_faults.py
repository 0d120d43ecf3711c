"""Tests of each check: a fault planted in sound data is found under its code, in its case, and nothing else is said."""

from __future__ import annotations

import json
from collections.abc import Callable
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
    judged,
    label,
    moved,
    spoil,
    strays,
    told,
)

from voxgraft.checks.dataset import check_dataset
from voxgraft.checks.guess import guess_dataset
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.structures import Region


def test_sound_data_are_told_to_be_sound(sound: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    assert told(sound, catalogue) == []
    assert judged(flow(tmp_path, sound, catalogue), catalogue) == []


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
