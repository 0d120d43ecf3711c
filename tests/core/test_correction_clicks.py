"""Clicks: bounded, connected, holding their voxel, stopping at walls, and never failing on odd images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voxgraft.correction.change import Change, Labels
from voxgraft.correction.clicks import FURTHEST, Click, click
from voxgraft.correction.locks import broken
from voxgraft.errors import DataError

SHAPE = (44, 40, 36)
SPACING = (1.0, 1.0, 1.2)


def ball(centre: tuple[float, ...], radius: float, shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    grids = np.ogrid[tuple(map(slice, shape))]
    total: Any = sum((grid - at) ** 2 for grid, at in zip(grids, centre, strict=True))
    return np.asarray(total <= radius**2)


TRUTH = ball((22, 20, 18), 12) | ball((33, 20, 18), 7)
"""A ball with a bump; the mask has missed the bump."""
MASK: Labels = np.uint8(3) * ball((22, 20, 18), 12)
IMAGE: NDArray[Any] = np.random.default_rng(0).normal(0, 5, SHAPE) + 100 * TRUTH
BUMP = Click((37, 20, 18))


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def applied(change: Change, mask: Labels = MASK) -> Labels:
    after = mask.copy()
    change.apply(after)
    return after


def test_a_click_adds_what_was_missed() -> None:
    after = applied(click(IMAGE, MASK, 3, [BUMP], SPACING))
    assert after[BUMP.index] == 3 and not (MASK.astype(bool) & (after == 0)).any()
    assert dice(after == 3, TRUTH) > dice(MASK == 3, TRUTH) + 0.03
    assert ((after == 3) & ~TRUTH).sum() < 0.3 * ((after == 3) & (MASK == 0)).sum()


def test_a_click_removes_a_leak() -> None:
    leaked = np.uint8(3) * TRUTH
    image = np.random.default_rng(0).normal(0, 5, SHAPE) + 100 * (MASK > 0)
    after = applied(click(image, leaked, 3, [Click((37, 20, 18), add=False)], SPACING), leaked)
    assert after[37, 20, 18] == 0 and dice(after == 3, MASK > 0) > dice(TRUTH, MASK > 0)
    assert not ((after == 3) & ~TRUTH).any()


def test_the_image_decides_where_the_surface_comes_to_lie() -> None:
    with_image = applied(click(IMAGE, MASK, 3, [BUMP], SPACING)) == 3
    without = applied(click(None, MASK, 3, [BUMP], SPACING)) == 3
    assert dice(with_image, TRUTH) > dice(without, TRUTH)


@pytest.mark.parametrize("place", [(2, 2, 2), (4, 36, 30), (43, 0, 35)])
@pytest.mark.parametrize("radius", [3.0, 10.0, 25.0, 1000.0])
def test_a_click_in_plain_background_stays_small(place: tuple[int, ...], radius: float) -> None:
    image = np.random.default_rng(1).normal(0, 5, SHAPE)
    change = click(image, np.zeros(SHAPE, np.uint8), 3, [Click(place)], SPACING, radius_mm=min(radius, 25.0))
    assert 1 <= change.voxels <= 700 and applied(change, np.zeros(SHAPE, np.uint8))[place] == 3


@pytest.mark.parametrize("radius", [0.1, 2.0, 6.0, 25.0, 1e9])
def test_nothing_changes_beyond_the_radius(radius: float) -> None:
    for point in (BUMP, Click((22, 20, 28), add=False), Click((5, 5, 5)), Click((22, 20, 18), add=False)):
        change = click(IMAGE, MASK, 3, [point], SPACING, radius_mm=radius)
        after = applied(change)
        assert (after[point.index] == 3) == point.add
        places = np.argwhere(after != MASK)
        away = np.linalg.norm((places - point.index) * SPACING, axis=1)
        assert away.max() <= max(radius, 0) + 1e-3 and np.abs(places - point.index).max() <= FURTHEST


def test_what_changes_is_connected_with_the_click() -> None:
    import cc3d

    noise = np.random.default_rng(3).normal(0, 50, SHAPE)
    for point in (BUMP, Click((22, 20, 29), add=False), Click((9, 20, 18))):
        after = applied(click(noise, MASK, 3, [point], SPACING))
        parts = cc3d.connected_components(after != MASK, connectivity=6)
        assert parts.max() == 1 and parts[point.index] == 1
        assert set(np.unique(after[after != MASK])) == {3 if point.add else 0}


def test_locked_structures_are_walls_and_others_are_not() -> None:
    mask = MASK.copy()
    mask[38:][mask[38:] == 0] = 7
    point = Click((37, 20, 18))
    walled = applied(click(IMAGE, mask, 3, [point], SPACING, locked={7}), mask)
    assert broken(mask, walled, {7}) == {} and (walled != mask).any()
    assert broken(mask, applied(click(IMAGE, mask, 3, [BUMP], SPACING, over=True), mask), {7})


def test_the_index_of_a_click_is_of_whole_numbers() -> None:
    given: Any = [np.int64(37), 20, 18]
    assert Click(given).index == BUMP.index
    for wrong in ((1.5, 2, 3), ("1", 2, 3), 4, None):
        with pytest.raises(DataError, match="whole numbers"):
            Click(wrong)  # type: ignore[arg-type]


def test_several_clicks_together() -> None:
    far = Click((22, 9, 18), add=False)
    both = applied(click(IMAGE, MASK, 3, [BUMP, far], SPACING))
    assert both[BUMP.index] == 3 and both[far.index] == 0
    alone = applied(click(IMAGE, MASK, 3, [BUMP], SPACING))
    held = applied(click(IMAGE, MASK, 3, [BUMP, Click((37, 22, 18), add=False)], SPACING))
    assert alone[37, 22, 18] == 3 and held[37, 22, 18] == 0 and held[BUMP.index] == 3
    assert click(IMAGE, MASK, 3, [Click((22, 20, 18)), Click((1, 1, 1), add=False)], SPACING).voxels == 0
    assert click(IMAGE, MASK, 3, [], SPACING).voxels == 0


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float16, np.float64, np.bool_])
def test_any_type_of_image(kind: type) -> None:
    after = applied(click(np.clip(IMAGE, 0, 200).astype(kind), MASK, 3, [BUMP], SPACING))
    assert after[BUMP.index] == 3 and (after != MASK).sum() > 20


@pytest.mark.parametrize(
    "image",
    [
        np.zeros(SHAPE),
        np.full(SHAPE, 1e300),
        np.full(SHAPE, np.nan),
        np.where(ball((37, 20, 18), 3), np.nan, IMAGE),
        np.where(ball((37, 20, 18), 3), np.inf, IMAGE),
        np.where(ball((30, 20, 18), 3), -np.inf, IMAGE * 1e30),
        np.full(SHAPE, 2**64 - 1, np.uint64),
        100.0 * TRUTH,
    ],
    ids=["constant", "huge", "nan", "hole", "inf", "minus inf", "uint64", "two values"],
)
def test_odd_images_still_give_the_clicked_voxel(image: NDArray[Any]) -> None:
    after = applied(click(image, MASK, 3, [BUMP], SPACING))
    assert after[BUMP.index] == 3 and (after != MASK).sum() < 4000


@pytest.mark.parametrize("shape", [(44, 40), (44, 40, 1), (1, 44, 40), (44, 40, 2), (1, 1, 30), (1, 1)])
@pytest.mark.parametrize("add", [True, False])
def test_flat_images(shape: tuple[int, ...], add: bool) -> None:
    middle = tuple(size // 2 for size in shape)
    mask = np.uint8(3) * ball(middle, 6, shape)
    point = Click(tuple(min(size - 1, at + 7) if size > 4 else at for at, size in zip(middle, shape, strict=True)), add)
    if not add:
        point = Click(middle, False)
    after = applied(click(np.zeros(shape), mask, 3, [point], (1.0,) * len(shape)), mask)
    assert (after[point.index] == 3) == add


@pytest.mark.parametrize("spacing", [(1e-4, 1e-4, 1e-4), (1e4, 1e4, 1e4), (1e-3, 1.0, 1e3), (0.5, 0.5, 8.0)])
def test_extreme_spacings_stay_bounded(spacing: tuple[float, ...]) -> None:
    for point in (BUMP, Click((5, 5, 5)), Click((22, 20, 28), add=False)):
        after = applied(click(IMAGE, MASK, 3, [point], spacing))
        assert (after[point.index] == 3) == point.add


def test_a_mask_of_another_order_in_memory_gives_the_same() -> None:
    one = applied(click(IMAGE, MASK, 3, [BUMP], SPACING))
    other = applied(click(np.asfortranarray(IMAGE), np.asfortranarray(MASK), 3, [BUMP], SPACING))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"label": 0}, "not the label of a structure"),
        ({"label": -1}, "not the label of a structure"),
        ({"label": 300}, "one from 1 to 255"),
        ({"locked": {3}}, "structure 3 is locked"),
        ({"locked": {0}}, r"lies in structure 0, which is locked"),
        ({"locked": {0}, "points": [Click((22, 20, 28), add=False)]}, "nothing can be removed while"),
        ({"points": [Click((44, 0, 0))]}, r"click at \(44, 0, 0\) lies outside"),
        ({"points": [Click((-1, 0, 0))]}, "lies outside"),
        ({"points": [Click((1, 1))]}, "lies outside"),
        ({"points": [Click((1, 1, 1)), Click((1, 1, 1), add=False)]}, "contradict each other"),
        ({"spacing": (1.0, 1.0)}, "3 positive numbers"),
        ({"radius_mm": 0.0}, "radius of a click"),
        ({"radius_mm": float("nan")}, "radius of a click"),
        ({"image": np.zeros((3, 3, 3))}, "image of the same shape"),
        ({"mask": np.zeros(SHAPE[:1], np.uint8)}, "two or three axes"),
    ],
)
def test_wrong_arguments_are_told(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"image": IMAGE, "mask": MASK, "label": 3, "points": [BUMP], "spacing": SPACING}
    with pytest.raises(DataError, match=message):
        click(**(right | wrong))
