"""Slices of a tilted gantry: a sheared grid where that is exact, upright where that is asked for, refused else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy.ndimage import map_coordinates

from dicom_masks import FACTS, LABELS
from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.regrid import resample_onto
from voxgraft.imaging.volume import ImageRef, Item, Volume
from voxgraft.imaging.write import write
from voxgraft.labels.masks import read_mask
from voxgraft.scoring.masks import CaseMasks
from voxgraft.scoring.pairs import Structure
from voxgraft_dicom.reader.options import DicomOptions
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.random.default_rng(0).integers(-900, 1100, (12, 10, 7)).astype(np.int16)
STEPS = np.diag([0.7, 0.8, 2.5, 1.0])
AXIAL = np.diag([-1.0, -1.0, 1.0, 1.0]) @ STEPS
OBLIQUE = (
    np.array([[-0.36, -0.48, -0.8, 12.5], [0.8, -0.6, 0.0, -80.25], [-0.48, -0.64, 0.6, 33.0], [0, 0, 0, 1]]) @ STEPS
)


def tilted(affine: Any, degrees: float, axis: int = 1) -> Any:
    leaning = affine.copy()
    along = affine[:3, axis] / np.linalg.norm(affine[:3, axis])
    leaning[:3, 2] += along * 2.5 * np.tan(np.radians(degrees))
    return leaning


def one(files: list[Path], **options: Any) -> Item:
    (item,) = DicomReader(DicomOptions(**options)).scan(files)
    return item


@pytest.mark.parametrize("degrees", [-25, 3, 18, 30])
@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_grid_leans_as_the_slices_do(tmp_path: Path, affine: Any, degrees: float, axis: int) -> None:
    leaning = tilted(affine, degrees, axis)
    item = one(make_series(tmp_path, ARRAY, leaning))
    assert [(problem.code, problem.severity) for problem in item.problems] == [("gantry-tilt", "warning")]
    volume = DicomReader().read(item)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.affine, leaning, atol=1e-4)
    assert volume.voxel_ml == pytest.approx(0.7 * 0.8 * 2.5 / 1000, rel=1e-4)


def test_slices_that_do_not_lean_evenly_are_refused(tmp_path: Path) -> None:
    def bent(k: int, slice_: Dataset) -> None:
        x, y, z = map(float, slice_.ImagePositionPatient)
        slice_.ImagePositionPatient = [x, y + 0.2 * k * k, z]

    item = one(make_series(tmp_path / "bent", ARRAY, AXIAL, edit=bent))
    assert [problem.code for problem in item.errors] == ["gantry-tilt"] and "same shift" in item.errors[0].message
    for name, slices, degrees in (("two", 2, 10), ("flat", 7, 60)):
        item = one(make_series(tmp_path / name, ARRAY[:, :, :slices], tilted(AXIAL, degrees)))
        assert [problem.code for problem in item.errors] == ["gantry-tilt"]


def test_the_option_refuses_as_well(tmp_path: Path) -> None:
    item = one(make_series(tmp_path, ARRAY, tilted(AXIAL, 12)), tilt="refuse")
    assert [problem.code for problem in item.errors] == ["gantry-tilt"]
    with pytest.raises(BadImage, match="tilted"):
        DicomReader().read(item)


@pytest.mark.parametrize("degrees", [-14, 20])
@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE])
def test_it_is_resampled_where_that_is_asked_for(tmp_path: Path, affine: Any, degrees: float) -> None:
    leaning = tilted(affine, degrees)
    item = one(make_series(tmp_path, ARRAY, leaning), tilt="resample")
    assert [(problem.code, problem.severity) for problem in item.problems] == [("gantry-tilt", "repair")]
    volume = DicomReader().read(item)
    assert volume.shape == item.shape and volume.shape[0] == 12 and volume.shape[2] == 7
    cosines = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-6)
    index = np.indices(volume.shape).reshape(3, -1)
    there = np.linalg.inv(leaning) @ volume.affine @ np.vstack([index, np.ones(index.shape[1])])
    inside = ((there[:3] > 1e-3) & (there[:3] < np.array(ARRAY.shape)[:, None] - 1 - 1e-3)) | (
        np.abs(there[:3] - np.rint(there[:3])) < 1e-3
    )
    inside = inside.all(0) & (there[:3].T >= -1e-3).all(1) & (np.array(ARRAY.shape) - 1 + 1e-3 >= there[:3].T).all(1)
    truth = map_coordinates(ARRAY.astype(float), there[:3], order=1, mode="nearest")
    assert inside.mean() > 0.5
    np.testing.assert_allclose(volume.array.reshape(-1)[inside], truth[inside], atol=1.01)
    corners = np.array([[i, j, k, 1] for i in (0, 11) for j in (0, 9) for k in (0, 6)]).T
    where = (np.linalg.inv(volume.affine) @ leaning @ corners)[:3]
    assert (where > -0.01).all() and (where < np.array(volume.shape)[:, None] - 1 + 0.01).all(), "it holds all slices"


def test_a_mask_on_a_leaning_grid_is_resampled_rightly(tmp_path: Path) -> None:
    volume = DicomReader().read(one(make_series(tmp_path, ARRAY, tilted(AXIAL, 20))))
    upright = Volume(np.zeros((12, 20, 7), np.uint8), AXIAL)
    found = resample_onto(volume, upright, "nearest").array
    i, j, k = 5, 12, 3
    index = np.linalg.inv(volume.affine) @ AXIAL @ [i, j, k, 1]
    a, b, c = np.rint(index[:3]).astype(int)
    assert found[i, j, k] == (ARRAY[a, b, c] if 0 <= b < 10 else found.min())


@pytest.mark.parametrize(("writer", "name"), [("dicom-seg", "mask.dcm"), ("dicom-rtstruct", "mask.rtstruct.dcm")])
def test_objects_of_a_leaning_series_come_back_voxel_by_voxel(
    tmp_path: Path, catalogue: Catalogue, writer: str, name: str
) -> None:
    volume = DicomReader().read(one(make_series(tmp_path / "scan", ARRAY, tilted(AXIAL, 18))))
    mask = np.zeros(ARRAY.shape, np.uint8)
    mask[2:6, 3:8, 1:6], mask[7:11, 2:5, 2:5] = 1, 3
    target = tmp_path / name
    choose(catalogue, "writer", {"use": writer}).build().write(
        Volume(mask, volume.affine, item=volume.item), target, labels=LABELS, facts=FACTS
    )
    back = read_mask(ImageRef(target), volume, LABELS, catalogue)
    np.testing.assert_array_equal(back.array, mask)


def test_volumes_of_structures_are_those_of_leaning_voxels() -> None:
    mask = np.zeros(ARRAY.shape, np.uint8)
    mask[2:6, 3:8, 1:6] = 1
    for affine in (tilted(AXIAL, 25), tilted(OBLIQUE, -10, 0), AXIAL):
        volume = Volume(mask, affine)
        pair = CaseMasks(volume, volume, LABELS).pair(Structure("Left kidney", (1,)))
        assert math.prod(pair.spacing) == pytest.approx(0.7 * 0.8 * 2.5, rel=1e-6)


def test_a_segmentation_of_a_resampled_series_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    volume = DicomReader().read(one(make_series(tmp_path / "scan", ARRAY, tilted(AXIAL, 18)), tilt="resample"))
    mask = Volume(np.ones(volume.shape, np.uint8), volume.affine, item=volume.item)
    with pytest.raises(DataError, match="does not lie on the mask"):
        write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS, writer="dicom-seg")
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]
