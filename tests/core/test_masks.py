"""Masks of any kind become label maps in the grid of their image, or are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.read import read, scan
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import ImageRef, MaskRef, Volume
from voxgraft.imaging.write import write
from voxgraft.labels.masks import read_mask
from voxgraft.labels.raters import majority, staple

SHAPE = (6, 5, 4)
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
LIKE = Volume(np.zeros(SHAPE, np.int16), AFFINE)


def saved(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> ImageRef:
    nib.save(nib.Nifti1Image(array, affine), path)
    return ImageRef(path)


def liver_and_tumour() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[1:4] = 1
    array[2, 2] = 2
    array[5, 4] = 7
    return array


def test_values_stay_as_they_are_where_labels_know_them(tmp_path, catalogue) -> None:
    array = liver_and_tumour()
    labels = Labels.of({"liver": 1, "tumour": 2, "cyst": 7})
    mask = read_mask(saved(tmp_path / "m.nii.gz", array), LIKE, labels, catalogue)
    assert np.array_equal(mask.array, array) and np.allclose(mask.affine, AFFINE)


def test_a_structure_may_be_made_of_several_values(tmp_path, catalogue) -> None:
    reference = saved(tmp_path / "m.nii.gz", liver_and_tumour())
    organ = Label(3, "organ", sources=(1, 2))
    with pytest.raises(DataError, match=r"\[7\], which have no name"):
        read_mask(reference, LIKE, Labels((organ,)), catalogue)
    mask = read_mask(reference, LIKE, Labels((organ,), others="background"), catalogue)
    expected = np.where(np.isin(liver_and_tumour(), [1, 2]), 3, 0)
    assert np.array_equal(mask.array, expected)
    assert [problem.code for problem in mask.item.problems] == ["left-out-labels"]
    ignoring = Labels((organ,), others="ignore")
    assert np.array_equal(read_mask(reference, LIKE, ignoring, catalogue).array == 255, liver_and_tumour() == 7)


def test_ignored_values_become_one_value(tmp_path, catalogue) -> None:
    labels = Labels((Label(1, "liver"), Label(300, "tumour", sources=(2,))), ignore=(7,))
    mask = read_mask(saved(tmp_path / "m.nii.gz", liver_and_tumour()), LIKE, labels, catalogue)
    assert labels.ignored == 65535 and set(np.unique(mask.array)) == {0, 1, 300, 65535}


def test_black_and_white_masks_are_told_how_to_be_read(tmp_path, catalogue) -> None:
    reference = saved(tmp_path / "m.nii.gz", ((liver_and_tumour() > 0) * 255).astype(np.uint8))
    with pytest.raises(DataError, match=r"labels: \{vessel: \{value: 1, from: \[255\]\}\}"):
        read_mask(reference, LIKE, Labels.of({"vessel": 1}), catalogue)
    mask = read_mask(reference, LIKE, Labels((Label(1, "vessel", sources=(255,)),)), catalogue)
    assert np.array_equal(mask.array, liver_and_tumour() > 0)


def test_a_mask_with_other_axes_is_turned_into_the_images(tmp_path, catalogue) -> None:
    array = liver_and_tumour()
    affine = AFFINE.copy()
    affine[0, 0], affine[0, 3] = -1.0, SHAPE[0] - 1.0
    mask = read_mask(saved(tmp_path / "m.nii.gz", array[::-1], affine), LIKE, None, catalogue)
    assert np.array_equal(mask.array, array)


def test_a_mask_beside_its_image_is_refused(tmp_path, catalogue) -> None:
    affine = AFFINE.copy()
    affine[0, 3] = 0.5
    with pytest.raises(BadImage, match=r"0\.5 mm off"):
        read_mask(saved(tmp_path / "m.nii.gz", liver_and_tumour(), affine), LIKE, None, catalogue)
    with pytest.raises(BadImage, match="6x5x3 voxels is not the image's 6x5x4"):
        read_mask(saved(tmp_path / "s.nii.gz", liver_and_tumour()[:, :, :3]), LIKE, None, catalogue)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e12])
def test_a_mask_of_fractions_is_refused(tmp_path, catalogue, value) -> None:
    array = np.zeros(SHAPE)
    array[0, 0, 0] = value
    with pytest.raises(BadImage, match=r"not whole numbers|beyond"):
        read_mask(saved(tmp_path / "m.nii.gz", array), LIKE, None, catalogue)


def structures(tmp_path: Path) -> MaskRef:
    """Two files that overlap in one voxel."""
    one, other = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    one[:3], other[2:, 2, 2] = 1, 255
    left, right = saved(tmp_path / "a.nii.gz", one), saved(tmp_path / "b.nii.gz", other)
    return MaskRef(tmp_path, named=(("Left Lung", left), ("lesion", right)))


def test_structures_in_files_of_their_own_are_painted_by_rule(tmp_path, catalogue) -> None:
    reference = structures(tmp_path)
    labels = Labels.of({"left lung": 1, "lesion": 2})
    with pytest.raises(DataError, match=r"overlap in 1 voxels; set data\.overlap"):
        read_mask(reference, LIKE, labels, catalogue)
    mask = read_mask(reference, LIKE, Labels(labels.items, overlap="higher"), catalogue).array
    assert (mask == 2).sum() == 4 and (mask == 1).sum() == 3 * 20 - 1 and mask[2, 2, 2] == 2


def test_structures_that_overlap_are_kept_where_labels_say_so(tmp_path, catalogue) -> None:
    labels = Labels(Labels.of({"leftlung": 1, "lesion": 2}).items, overlap="keep")
    mask = read_mask(structures(tmp_path), LIKE, labels, catalogue)
    assert mask.array.shape == (2, *SHAPE) and mask.dims == 3
    assert mask.array[0].sum() == 60 and mask.array[1].sum() == 4 and mask.array[:, 2, 2, 2].tolist() == [1, 1]


def test_structures_without_a_label_are_left_out_only_when_said(tmp_path, catalogue) -> None:
    reference = structures(tmp_path)
    with pytest.raises(DataError, match=r"\['lesion'\], which are not in data.labels"):
        read_mask(reference, LIKE, Labels.of({"left lung": 1}), catalogue)
    mask = read_mask(reference, LIKE, Labels(Labels.of({"left lung": 1}).items, others="background"), catalogue)
    assert mask.array.sum() == 60
    with pytest.raises(DataError, match="name them with their values"):
        read_mask(reference, LIKE, None, catalogue)


@pytest.mark.parametrize("overlap", ["higher", "keep"])
def test_what_is_ignored_hides_structures_only_where_it_is_named(tmp_path, catalogue, overlap) -> None:
    """A contour of the whole body that nobody asked for must not swallow the organs in it."""
    reference = structures(tmp_path)
    others = Labels(Labels.of({"left lung": 1}).items, others="ignore", overlap=overlap)
    mask = read_mask(reference, LIKE, others, catalogue)
    assert (mask.array == 1).sum() == 60 and (mask.array == 255).sum() == 3
    unsure = Labels(Labels.of({"left lung": 1}).items, ignore=("lesion",), overlap=overlap)
    mask = read_mask(reference, LIKE, unsure, catalogue)
    assert (mask.array == 1).sum() == 59 and (mask.array == 255).sum() == 4


@pytest.mark.parametrize(("writer", "file"), [("dicom-seg", "mask.dcm"), ("dicom-rtstruct", "contours.dcm")])
def test_objects_with_names_are_read_in_the_grid_of_their_series(tmp_path, data, catalogue, writer, file) -> None:
    series = next(item for item in scan(data / "dicom_study", catalogue) if item.description == "HippoCrop")
    image = read(ImageRef(series.path, series.series), catalogue)
    array = np.zeros((2, *image.shape), np.uint8)
    array[0, 5:25, 8:30, 4:20], array[1, 10:30, 12:22, 8:12] = 1, 1
    both = Labels(Labels.of({"Tumour": 1, "Old Lesion": 2}).items, overlap="keep")
    write(Volume(array, image.affine, item=image.item), tmp_path / file, catalogue, both, {}, writer=writer)
    assert np.array_equal(read_mask(ImageRef(tmp_path / file), image, both, catalogue).array, array)
    lower = Labels(Labels.of({"tumour": 1, "oldlesion": 7}).items, overlap="higher")
    mask = read_mask(ImageRef(tmp_path / file), image, lower, catalogue).array
    assert np.array_equal(mask == 7, array[1] == 1) and np.array_equal(mask == 1, (array[0] == 1) & (array[1] == 0))
    with pytest.raises(DataError, match="overlap in"):
        read_mask(ImageRef(tmp_path / file), image, Labels.of({"tumour": 1, "old lesion": 2}), catalogue)
    with pytest.raises(DataError, match="can only be read together with that image"):
        read_mask(ImageRef(tmp_path / file), None, both, catalogue)


def test_two_names_that_may_be_one_structure_are_refused(tmp_path, catalogue) -> None:
    part = structures(tmp_path).named[0][1]
    reference = MaskRef(tmp_path, named=(("Liver", part), ("LIVER ", part)))
    with pytest.raises(DataError, match="may both be 'liver'"):
        read_mask(reference, LIKE, Labels.of({"liver": 1}), catalogue)


def test_each_channel_of_a_mask_is_a_structure(tmp_path, catalogue) -> None:
    array = np.zeros((*SHAPE, 2), np.uint8)
    array[:3, ..., 0], array[2:, ..., 1] = 1, 1
    reference = saved(tmp_path / "m.nii.gz", array)
    labels = Labels(Labels.of({"whole": 1, "core": 2}).items, overlap="keep")
    mask = read_mask(reference, LIKE, labels, catalogue)
    assert np.array_equal(mask.array, np.moveaxis(array, -1, 0))
    with pytest.raises(BadImage, match="name them 1 to 2"):
        read_mask(reference, LIKE, None, catalogue)


def test_the_majority_decides_and_ties_go_to_the_lower_value(tmp_path, catalogue) -> None:
    masks = [np.array([[0, 1, 2, 2, 1]]), np.array([[0, 1, 1, 1, 0]]), np.array([[1, 1, 2, 0, 0]])]
    assert majority(masks, 2).tolist() == [[0, 1, 2, 0, 0]]
    assert majority(masks[:2], 2).tolist() == [[0, 1, 1, 1, 0]]
    assert majority([masks[0], masks[1] * 0 + 9], 2, ignored=9).tolist() == [[9] * 5]


def test_staple_trusts_the_raters_that_agree(tmp_path, catalogue) -> None:
    truth = np.zeros((24, 24, 6), np.uint8)
    truth[6:18, 6:18], truth[10:14, 10:14] = 1, 2
    rng = np.random.default_rng(1)
    masks = []
    for share in (0.02, 0.02, 0.9, 0.9, 0.9):  # three careless raters could outvote two good ones
        mask = truth.copy()
        wrong = rng.random(truth.shape) < share
        mask[wrong] = rng.integers(0, 3, int(wrong.sum()))
        masks.append(mask)
    found, voted = staple(masks, 3), majority(masks, 3)
    assert (found != truth).mean() < 0.6 * (voted != truth).mean()
    assert np.array_equal(found, staple(masks, 3))
    several = np.stack([truth > 0, truth > 1]).astype(np.uint8)
    assert np.array_equal(staple([several, several, several], 3), several)


def test_raters_masks_are_read_together(tmp_path, catalogue) -> None:
    array = liver_and_tumour() % 3
    parts = tuple(
        (f"rater {n}", saved(tmp_path / f"{n}.nii.gz", np.roll(array, shift, 0))) for n, shift in enumerate((0, 0, 1))
    )
    labels = Labels.of({"liver": 1, "tumour": 2})
    mask = read_mask(MaskRef(tmp_path, named=parts, rule="majority"), LIKE, labels, catalogue)
    assert np.array_equal(mask.array, array)
