"""Orientation and resampling: there and back again, and every voxel where it was."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from voxgraft.imaging.orientation import orientation_of, reoriented, shape_at
from voxgraft.imaging.resample import resample_image, resample_labels
from voxgraft.imaging.volume import Volume

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def tilted(order: tuple[int, ...], signs: tuple[int, ...], angle: float = 0.2) -> np.ndarray:
    """An affine whose axes lie near the given ones, turned a little about two axes, anisotropic."""
    base = np.zeros((3, 3))
    for axis, (to, sign) in enumerate(zip(order, signs, strict=True)):
        base[to, axis] = sign
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ base @ np.diag([0.7, 1.1, 3.0])
    affine[:3, 3] = [-80, 40, 12]
    return affine


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_voxel_keeps_its_place_in_the_patient(order, signs) -> None:
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    volume = Volume(array, tilted(order, signs))
    turned, orientation = reoriented(volume)
    for place in [(0, 0, 0), (3, 0, 5), (1, 4, 2)]:
        where = volume.affine @ [*place, 1]
        index = np.linalg.solve(turned.affine, where)[:3].round().astype(int)
        assert turned.array[tuple(index)] == array[place]
    assert (np.diag(turned.affine)[:3] > 0).all()
    assert np.array_equal(orientation.undo(turned.array), array)


def test_channels_stay_in_front() -> None:
    volume = Volume(np.zeros((2, 4, 5, 6)), tilted((2, 0, 1), (1, -1, 1)), dims=3)
    turned, orientation = reoriented(volume)
    assert turned.array.shape[0] == 2 and orientation.undo(turned.array).shape == (2, 4, 5, 6)


def test_images_of_two_axes_are_left_as_they_are() -> None:
    assert orientation_of(np.diag([-1.0, -1, 1, 1]), 2).flips == (False, False)


def test_resampling_keeps_a_ramp_a_ramp() -> None:
    """Linear interpolation reproduces a linear image at the new voxels' centres, away from the border."""
    ramp = np.broadcast_to(np.arange(20.0)[None, :, None, None], (1, 20, 8, 8))
    fine = resample_image(ramp, (40, 8, 8))
    centres = (np.arange(40) + 0.5) / 2 - 0.5
    assert np.allclose(fine[0, 2:-2, 4, 4], centres[2:-2], atol=1e-5)


def test_going_coarser_averages_instead_of_skipping() -> None:
    image = np.zeros((1, 32, 32, 32), np.float32)
    image[:, ::8] = 8.0  # every eighth plane: without smoothing, it would be hit or missed
    coarse = resample_image(image, (4, 4, 4))
    assert coarse.mean() == pytest.approx(1.0, rel=0.3)


def test_labels_survive_the_way_to_a_finer_grid_and_back() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:12, 5:15, 6:14] = 1
    labels[12:17, 5:15, 6:14] = 2
    there = resample_labels(labels, (31, 27, 20), 3)
    back = resample_labels(there, (20, 20, 20), 3)
    assert set(np.unique(there)) == {0, 1, 2}
    assert (back != labels).mean() < 0.02
    assert np.array_equal(resample_labels(labels, labels.shape, 3), labels)


def test_shapes_cover_the_same_extent() -> None:
    assert shape_at((100, 50, 20), (1.0, 1.0, 5.0), (2.0, 0.5, 5.0)) == (50, 100, 20)
    assert shape_at((1, 1, 1), (1.0, 1.0, 1.0), (9.0, 9.0, 9.0)) == (1, 1, 1)
