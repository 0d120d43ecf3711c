"""Resampling slab by slab: equal to torch's linear interpolation, to SciPy's and SimpleITK's cubic splines."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import map_coordinates
from torch.nn import functional

from voxgraft.imaging.resample import resample_image

RNG = np.random.default_rng(5)
SHAPES = [((31, 24, 20), (50, 15, 20)), ((20, 33, 18), (13, 40, 31)), ((9, 8, 1), (12, 5, 1)), ((21, 30), (33, 18))]


def smooth(shape: tuple[int, ...], channels: int = 2) -> np.ndarray:
    coarse = torch.from_numpy(RNG.normal(size=(1, channels, *[max(1, n // 4) for n in shape])) * 300)
    mode = {2: "bilinear", 3: "trilinear"}[len(shape)]
    return functional.interpolate(coarse, shape, mode=mode)[0].numpy().round().astype(np.int16)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_linear_is_what_torch_interpolates(old: tuple[int, ...], new: tuple[int, ...], order: str) -> None:
    image = np.array(smooth(old), order=order)
    mode = {2: "bilinear", 3: "trilinear"}[len(old)]
    expected = functional.interpolate(torch.from_numpy(image.astype(np.float64))[None], new, mode=mode)[0].numpy()
    done = resample_image(image, new)
    assert done.dtype == np.float32 and done.flags["C_CONTIGUOUS"]
    assert np.abs(done - expected).max() < 1e-6 * np.abs(image).max()


def test_turned_axes_and_slabs_change_nothing() -> None:
    image = smooth((40, 9, 50), 1)
    turned = image[:, ::-1].transpose(0, 2, 3, 1)
    done = resample_image(turned, (14, 61, 45))
    assert np.allclose(done, resample_image(np.ascontiguousarray(turned), (14, 61, 45)), atol=1e-3)


def test_where_an_axis_loses_more_than_half_its_voxels_are_averaged() -> None:
    image = smooth((37, 20, 16), 1)
    whole = functional.interpolate(torch.from_numpy(image.astype(np.float64))[None], (9, 20, 16), mode="area")
    expected = functional.interpolate(whole, (9, 25, 16), mode="trilinear")[0].numpy()
    assert np.abs(resample_image(image, (9, 25, 16)) - expected).max() < 1e-3


@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_cubic_is_the_spline_of_scipy(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    image = smooth(old, 1)
    places = [np.clip((np.arange(n) + 0.5) * o / n - 0.5, 0, o - 1) for o, n in zip(old, new, strict=True)]
    grid = np.stack(np.meshgrid(*places, indexing="ij"))
    expected = map_coordinates(image[0].astype(float), grid, order=3, mode="mirror")
    assert np.abs(resample_image(image, new, "cubic")[0] - expected).max() < 0.01


def test_cubic_is_the_spline_of_simpleitk() -> None:
    image, new = smooth((24, 20, 18), 1)[0], (33, 15, 25)
    scan = sitk.GetImageFromArray(image.astype(np.float64))
    steps = [o / n for o, n in zip(image.shape, new, strict=True)][::-1]
    origin = [0.5 * step - 0.5 for step in steps]
    size, here = [int(n) for n in new[::-1]], scan.GetDirection()
    there = sitk.Resample(scan, size, sitk.Transform(), sitk.sitkBSpline, origin, steps, here, 0, sitk.sitkFloat64)
    inner = (slice(2, -2),) * 3
    expected = sitk.GetArrayFromImage(there)[inner]
    assert np.abs(resample_image(image[None], new, "cubic")[0][inner] - expected).max() < 0.01


def test_a_constant_stays_constant() -> None:
    for interpolation in ("linear", "cubic"):
        done = resample_image(np.full((1, 30, 8, 9), 1000, np.int16), (41, 5, 3), interpolation)
        assert np.abs(done - 1000).max() < 0.001


def test_voxels_are_changed_plane_by_plane() -> None:
    image = smooth((30, 20, 16))
    done = resample_image(image, (20, 25, 16), "linear", lambda part: np.clip(part, -50, 50).astype(np.float32))
    assert np.array_equal(done, resample_image(np.clip(image, -50, 50), (20, 25, 16)))


def test_beside_scan_and_result_there_are_only_planes() -> None:
    image = np.zeros((1, 96, 96, 96), np.int16, order="F")
    tracemalloc.start()
    resample_image(image, (60, 60, 60))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 60**3 + 40 * 4 * 96**2 < 4 * 96**3
