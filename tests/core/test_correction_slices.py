"""Redrawn slices become the volume: exact where drawn, in every direction, walls kept, bounded by the reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voxgraft.correction.change import Labels
from voxgraft.correction.locks import broken
from voxgraft.correction.slices import propagate
from voxgraft.errors import DataError

SHAPE = (40, 44, 48)
SPACING = (0.8, 1.0, 2.5)


def ball(radius: float, shape: tuple[int, ...] = SHAPE, spacing: tuple[float, ...] = SPACING) -> NDArray[np.bool_]:
    """An ellipsoid of this radius in millimetres in the middle, longer along the last axis."""
    grids = np.ogrid[tuple(slice(0, size) for size in shape)]
    stretch = (1.0,) * (len(shape) - 1) + (3.0,)
    parts = zip(grids, shape, spacing, stretch, strict=True)
    total: Any = sum((((grid - size / 2) * step / long) ** 2 for grid, size, step, long in parts))
    return np.asarray(total <= radius**2)


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def with_slices(mask: Labels, truth: NDArray[np.bool_], axis: int, indices: list[int], label: int = 2) -> Labels:
    """The mask with some slices drawn as the truth."""
    redrawn = mask.copy()
    for index in indices:
        place = (slice(None),) * axis + (index,)
        redrawn[place] = np.where(truth[place], label, np.where(redrawn[place] == label, 0, redrawn[place]))
    return redrawn


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_few_slices_become_the_volume(axis: int, order: str) -> None:
    truth = ball(15)
    mask = np.array(2 * ball(11), np.uint8, order=order)  # type: ignore[call-overload]
    extent = np.flatnonzero(truth.any(tuple({0, 1, 2} - {axis})))
    indices = np.linspace(extent[0], extent[-1], 6).round().astype(int)[1:-1].tolist()
    redrawn = with_slices(mask, truth, axis, indices)
    after = redrawn.copy()
    change = propagate(mask, redrawn, 2, axis, SPACING, 30.0)
    change.apply(after)
    assert dice(mask == 2, truth) < 0.75 and dice(redrawn == 2, truth) < 0.85 < 0.9 < dice(after == 2, truth)
    for index in indices:
        assert np.array_equal(after.take(index, axis), redrawn.take(index, axis))
    change.revert(after)
    assert np.array_equal(after, redrawn)


def test_a_structure_that_was_too_large_becomes_smaller() -> None:
    truth, mask = ball(10), np.uint8(2) * ball(14)
    redrawn = with_slices(mask, truth, 2, [16, 24, 32])
    change = propagate(mask, redrawn, 2, 2, SPACING, 30.0)
    change.apply(redrawn)
    assert dice(mask == 2, truth) < 0.6 < 0.85 < dice(redrawn == 2, truth) and set(np.unique(change.after)) <= {0, 2}


def test_slices_at_the_ends_do_not_make_it_worse() -> None:
    truth, mask = ball(15), np.uint8(2) * ball(13)
    mask = np.roll(mask, 3, 0)
    ends = np.flatnonzero(truth.any((0, 1)))[[0, -1]].tolist()
    redrawn = with_slices(mask, truth, 2, [ends[0], 24, ends[1]])
    for reach in (3.0, 10.0, 40.0):
        after = redrawn.copy()
        propagate(mask, redrawn, 2, 2, SPACING, reach).apply(after)
        assert dice(after == 2, truth) >= dice(mask == 2, truth)


def test_the_reach_is_in_millimetres_and_ends() -> None:
    truth, mask = ball(15), np.uint8(2) * ball(11)
    redrawn = with_slices(mask, truth, 2, [24])
    for reach in (5.0, 12.0):
        change = propagate(mask, redrawn, 2, 2, SPACING, reach)
        far = np.ceil(4 * reach / SPACING[2])
        assert change.voxels and 24 - far <= change.box[2].start and change.box[2].stop <= 24 + far + 1
    near, wide = (propagate(mask, redrawn, 2, 2, SPACING, reach).voxels for reach in (2.0, 20.0))
    assert near < wide / 2


def test_an_unchanged_slice_that_is_named_holds_the_others_back() -> None:
    truth, mask = ball(15), np.uint8(2) * ball(11)
    redrawn = with_slices(mask, truth, 2, [20])
    free = propagate(mask, redrawn, 2, 2, SPACING, 30.0)
    held = propagate(mask, redrawn, 2, 2, SPACING, 30.0, slices=[20, 24])
    assert free.box[2].stop > 25 and held.voxels < free.voxels
    after = redrawn.copy()
    held.apply(after)
    assert np.array_equal(after[:, :, 24:], mask[:, :, 24:])


def test_locked_structures_are_walls() -> None:
    truth, mask = ball(15), np.uint8(2) * ball(11)
    mask[:14][~(mask[:14] == 2)] = 7
    mask[26:][~(mask[26:] == 2)] = 8
    redrawn = with_slices(mask, truth & (mask != 7), 2, [16, 24, 32])
    after = redrawn.copy()
    propagate(mask, redrawn, 2, 2, SPACING, 30.0, locked={7}, over=True).apply(after)
    assert broken(redrawn, after, {7}) == {} and broken(redrawn, after, {8})
    smaller = with_slices(mask, ball(8), 2, [16, 24, 32])
    assert propagate(mask, smaller, 2, 2, SPACING, 30.0).voxels
    assert propagate(mask, smaller, 2, 2, SPACING, 30.0, locked={0}).voxels == 0
    with pytest.raises(DataError, match="structure 2 is locked"):
        propagate(mask, redrawn, 2, 2, SPACING, 30.0, locked={2})


def test_a_structure_is_made_new_and_removed() -> None:
    truth, empty = ball(15), np.zeros(SHAPE, np.uint8)
    redrawn = with_slices(empty, truth, 2, [18, 24, 30])
    propagate(empty, redrawn, 2, 2, SPACING, 15.0).apply(redrawn)
    assert dice(redrawn[:, :, 18:31] == 2, truth[:, :, 18:31]) > 0.8
    full = np.uint8(2) * truth
    gone = with_slices(full, np.zeros(SHAPE, np.bool_), 2, [20, 24, 28])
    propagate(full, gone, 2, 2, SPACING, 5.0).apply(gone)
    assert not gone[:, :, 20:29].any() and np.array_equal(gone[:, :, :8], full[:, :, :8]) and gone[:, :, :8].any()


def test_a_local_correction_gives_what_it_gives_in_a_scan_that_is_larger() -> None:
    mask = np.uint8(2) * ball(12)
    redrawn = mask.copy()
    redrawn[20:25, 30:36, 24] = 2
    inner = propagate(mask, redrawn, 2, 2, SPACING, 12.0)
    wide, wide_redrawn = np.pad(mask, 9), np.pad(redrawn, 9)
    outer = propagate(wide, wide_redrawn, 2, 2, SPACING, 12.0)
    assert inner.voxels and np.array_equal(inner.after, outer.after)
    assert tuple(part.start + 9 for part in inner.box) == tuple(part.start for part in outer.box)


def test_an_image_of_two_axes_and_of_one_slice() -> None:
    truth, mask = ball(15, (40, 44), (1.0, 1.0)), np.uint8(2) * ball(11, (40, 44), (1.0, 1.0))
    redrawn = with_slices(mask, truth, 1, [14, 22, 30])
    propagate(mask, redrawn, 2, 1, (1.0, 1.0), 20.0).apply(redrawn)
    assert dice(redrawn == 2, truth) > dice(mask == 2, truth)
    flat = mask[:, :, None]
    assert propagate(flat, with_slices(flat, truth[:, :, None], 2, [0]), 2, 2, (1.0, 1.0, 1.0), 20.0).voxels == 0


def test_nothing_redrawn_changes_nothing() -> None:
    mask = np.uint8(2) * ball(11)
    assert propagate(mask, mask.copy(), 2, 2, SPACING, 10.0).voxels == 0
    assert propagate(mask, mask.copy(), 2, 2, SPACING, 10.0, slices=[20, 24]).voxels == 0
    assert propagate(mask, mask.copy(), 9, 2, SPACING, 10.0, slices=[20, 24]).voxels == 0


@pytest.mark.parametrize("spacing", [(1e-3, 1.0, 1e3), (1e3, 1e3, 1e-3), (1e-6, 1e-6, 1e-6)])
def test_extreme_spacings_still_give_a_change(spacing: tuple[float, float, float]) -> None:
    truth, mask = ball(15), np.uint8(2) * ball(11)
    redrawn = with_slices(mask, truth, 2, [16, 24, 32])
    after = redrawn.copy()
    propagate(mask, redrawn, 2, 2, spacing, 10.0).apply(after)
    assert np.array_equal(after[:, :, [16, 24, 32]], redrawn[:, :, [16, 24, 32]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"axis": 3}, "no slices across axis 3"),
        ({"axis": -1}, "no slices across axis -1"),
        ({"label": 0}, "not the label of a structure"),
        ({"label": 256}, "one from 1 to 255"),
        ({"reach_mm": 0.0}, "reach is a positive"),
        ({"reach_mm": float("nan")}, "reach is a positive"),
        ({"reach_mm": float("inf")}, "reach is a positive"),
        ({"spacing": (1.0, 1.0)}, "3 positive numbers"),
        ({"spacing": (1.0, 0.0, 1.0)}, "3 positive numbers"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "3 positive numbers"),
        ({"slices": [48]}, "no slice 48; the mask has 48"),
        ({"slices": [-1, 3]}, "no slice -1"),
        ({"redrawn": np.zeros((3, 3, 3), np.uint8)}, "3x3x3 voxels"),
    ],
)
def test_wrong_arguments_are_told(wrong: dict[str, Any], message: str) -> None:
    mask = np.uint8(2) * ball(11)
    right = {"before": mask, "redrawn": mask.copy(), "label": 2, "axis": 2, "spacing": SPACING, "reach_mm": 10.0}
    with pytest.raises(DataError, match=message):
        propagate(**(right | wrong))
