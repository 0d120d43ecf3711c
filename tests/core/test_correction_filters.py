"""Holes are filled and borders smoothed: exactly, within the structure's own place, and never into other structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from voxgraft.correction.change import Change, Labels
from voxgraft.correction.holes import fill_holes
from voxgraft.correction.locks import broken
from voxgraft.correction.smoothing import smooth
from voxgraft.errors import DataError

SHAPE = (30, 28, 26)
SPACING = (1.0, 1.0, 2.5)


def ball(radius: float, centre: tuple[float, ...] = (15, 14, 13), shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    grids = np.ogrid[tuple(slice(0, size) for size in shape)]
    total: Any = sum((grid - middle) ** 2 for grid, middle in zip(grids, centre, strict=True))
    return np.asarray(total <= radius**2)


def hollow() -> Labels:
    """A ball of 2 with a cavity, in which there is a grain of 3."""
    mask = np.uint8(2) * ball(10)
    mask[ball(5)] = 0
    mask[15, 14, 13] = 3
    return mask


def made(change: Change, mask: Labels) -> Labels:
    after = mask.copy()
    change.apply(after)
    back = after.copy()
    change.revert(back)
    assert np.array_equal(back, mask)
    return after


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_a_structure_encloses_in_space_is_filled(order: Any) -> None:
    mask = np.asarray(hollow(), order=order)
    after = made(fill_holes(mask, 2), mask)
    assert np.array_equal(after == 2, ball(10) & (mask != 3)) and after[15, 14, 13] == 3
    assert np.array_equal(made(fill_holes(mask, 2, over=True), mask) == 2, ball(10))
    held = made(fill_holes(mask, 2, locked={3}, over=True), mask)
    assert held[15, 14, 13] == 3 and fill_holes(mask, 2, locked={0}).voxels == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_filled_one_by_one_as_scipy_does(axis: int) -> None:
    chance = np.random.default_rng(axis)
    mask = np.asarray(chance.random(SHAPE) < 0.62, np.uint8) * np.uint8(4)
    wanted = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(mask == 4, axis, 0)], axis)
    assert wanted.sum() > (mask == 4).sum()
    assert np.array_equal(made(fill_holes(mask, 4, axis), mask) == 4, wanted)
    one = made(fill_holes(mask, 4, axis, 7), mask)
    assert np.array_equal(np.flatnonzero((one != mask).any(tuple({0, 1, 2} - {axis}))), [7])
    assert np.array_equal(one.take(7, axis) == 4, wanted.take(7, axis))


def test_in_space_as_scipy_does_and_a_way_out_is_no_hole() -> None:
    mask = np.asarray(np.random.default_rng(3).random(SHAPE) < 0.75, np.uint8)
    wanted = ndimage.binary_fill_holes(mask)
    assert wanted.sum() > mask.sum()
    assert np.array_equal(made(fill_holes(mask, 1), mask), wanted)
    tube = hollow()
    tube[15, 14, :] = 0
    assert fill_holes(tube, 2).voxels == 0 and fill_holes(tube, 2, 0).voxels > 0


def test_what_the_edge_of_the_scan_cuts_is_open_but_one_slice_has_no_such_edge() -> None:
    half = hollow()[:, :, :13]
    assert fill_holes(half, 2).voxels == 0 and fill_holes(half, 2, 2).voxels > 100
    flat = hollow()[:, :, 12:13]
    for change in (fill_holes(flat, 2), fill_holes(flat[..., 0], 2), fill_holes(flat, 2, 2)):
        assert change.voxels == (ball(5)[:, :, 12]).sum()


@pytest.mark.parametrize("kind", ["median", "gaussian"])
def test_a_smooth_border_keeps_its_place_and_specks_and_notches_go(kind: str) -> None:
    truth = ball(10)
    mask = np.uint8(2) * truth
    noise = np.random.default_rng(1).random(SHAPE) < 0.25
    mask[noise & (ndimage.binary_dilation(truth) ^ ndimage.binary_erosion(truth))] ^= 2
    after = made(smooth(mask, 2, SPACING, 3.0, kind), mask)
    assert ((after == 2) ^ truth).sum() < 0.6 * ((mask == 2) ^ truth).sum()
    clean = made(smooth(np.uint8(2) * truth, 2, SPACING, 3.0, kind), np.uint8(2) * truth)
    both = ((after == 2) & (clean == 2)).sum()
    assert 2 * both / ((after == 2).sum() + (clean == 2).sum()) > 0.97, "as if the border had never been rough"
    assert after[ball(7)].all() and not after[~ball(12)].any()


def test_the_median_is_that_of_the_ball_in_millimetres() -> None:
    mask = np.asarray(ndimage.gaussian_filter(np.random.default_rng(2).random(SHAPE), 1.5) > 0.5, np.uint8)
    grids = np.ogrid[-3:4, -3:4, -1:2]
    ball_mm = sum((grid * step) ** 2 for grid, step in zip(grids, SPACING, strict=True)) <= 9
    wanted = ndimage.median_filter(mask, footprint=ball_mm, mode="nearest")
    assert np.array_equal(made(smooth(mask, 1, SPACING, 3.0), mask), wanted)


@pytest.mark.parametrize("kind", ["median", "gaussian"])
def test_a_structure_that_the_edge_of_the_scan_cuts_does_not_shrink_there(kind: str) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :12] = 1
    assert smooth(mask, 1, SPACING, 4.0, kind).voxels == 0
    mask[:, 12, 13] = 1
    assert not made(smooth(mask, 1, SPACING, 4.0, kind), mask)[:, 12].any()


@pytest.mark.parametrize("kind", ["median", "gaussian"])
def test_other_structures_are_touched_only_when_asked_and_locked_ones_never(kind: str) -> None:
    mask = np.uint8(1) * ball(10)
    mask[12:18, 11:17, 20:24] = 2
    mask[14:16, 14, :] = 3
    mask[mask == 1] = np.where(np.random.default_rng(0).random((mask == 1).sum()) < 0.15, 0, 1)
    alone = smooth(mask, 1, SPACING, 3.0, kind)
    assert alone.voxels and not broken(mask, made(alone, mask), {2, 3})
    free = made(smooth(mask, 1, SPACING, 3.0, kind, over=True), mask)
    assert broken(mask, free, {3})
    held = made(smooth(mask, 1, SPACING, 3.0, kind, locked={3}, over=True), mask)
    assert not broken(mask, held, {3}) and (held != mask).any()
    assert not broken(mask, made(smooth(mask, 1, SPACING, 3.0, kind, locked={0}), mask), {0})


def test_below_a_voxel_nothing_changes_and_in_thick_slices_only_they_are_smoothed() -> None:
    mask = hollow()
    for kind in ("median", "gaussian"):
        assert smooth(mask, 2, SPACING, 0.4, kind).voxels == 0
        assert smooth(mask, 9, SPACING, 3.0, kind).voxels == 0
    single = np.zeros(SHAPE, np.uint8)
    single[5:20, 5:20, 13] = 1
    assert made(smooth(single, 1, (1.0, 1.0, 5.0), 3.0), single)[12, 12, 13]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mask: fill_holes(mask, 0), "not the label of a structure"),
        (lambda mask: fill_holes(mask, 2, locked={2}), "is locked"),
        (lambda mask: fill_holes(mask, 2, 3), "no slices across axis 3"),
        (lambda mask: fill_holes(mask, 2, -1), "no slices across axis -1"),
        (lambda mask: fill_holes(mask, 2, 2, 26), "no slice 26"),
        (lambda mask: fill_holes(mask, 2, 2, -1), "no slice -1"),
        (lambda mask: fill_holes(mask, 2, None, 3), "slice 3 needs an axis"),
        (lambda mask: smooth(mask, 256, SPACING, 1.0), "one from 1 to 255"),
        (lambda mask: smooth(mask, 2, SPACING, 1.0, locked={2}), "is locked"),
        (
            lambda mask: smooth(mask, 2, SPACING, 1.0, "mean"),
            "'mean' is not a smoothing method; choose median or gaussian",
        ),
        (lambda mask: smooth(mask, 2, SPACING, 0.0), "radius of smoothing is from 0 to 40 mm"),
        (lambda mask: smooth(mask, 2, SPACING, float("nan")), "radius of smoothing"),
        (lambda mask: smooth(mask, 2, SPACING, float("inf")), "radius of smoothing"),
        (lambda mask: smooth(mask, 2, (0.01, 1.0, 1.0), 0.5), "from 0 to 0.4 mm in this mask"),
        (lambda mask: smooth(mask, 2, (1.0, 1.0), 1.0), "3 positive numbers"),
        (lambda mask: smooth(mask, 3, SPACING, 2.0), "nothing of the structure would be left"),
    ],
)
def test_wrong_arguments_are_told(call: Callable[[Labels], Change], message: str) -> None:
    with pytest.raises(DataError, match=message):
        call(hollow())
