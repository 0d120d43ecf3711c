"""One rule for all corrections: a structure grows into background, into others only when told so, never into locked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from voxgraft.correction.change import Change, Labels
from voxgraft.correction.clicks import Click, click
from voxgraft.correction.holes import fill_holes
from voxgraft.correction.locks import broken
from voxgraft.correction.slices import propagate
from voxgraft.correction.smoothing import smooth
from voxgraft.errors import DataError

SHAPE = (40, 40, 40)
SPACING = (1.0, 1.0, 1.0)
OTHER = 7
Tool = Callable[..., Change]


def ball(radius: float) -> Labels:
    grids = np.ogrid[tuple(map(slice, SHAPE))]
    squares: Any = sum((grid - 20) ** 2 for grid in grids)
    return np.asarray(squares <= radius**2)


def beside(mask: Labels) -> Labels:
    """Another structure in part of what is background."""
    mask[20:][mask[20:] == 0] = OTHER
    return mask


def slices(**rule: Any) -> tuple[Labels, Change]:
    before = beside(np.uint8(2) * ball(9))
    redrawn = before.copy()
    for index in (16, 24):
        redrawn[:, :, index][ball(14)[:, :, index]] = 2
    return redrawn, propagate(before, redrawn, 2, 2, SPACING, 30.0, **rule)


def clicks(**rule: Any) -> tuple[Labels, Change]:
    mask = beside(np.uint8(2) * ball(9))
    return mask, click(None, mask, 2, [Click((19, 33, 20))], SPACING, **rule)


def holes(**rule: Any) -> tuple[Labels, Change]:
    mask = np.uint8(2) * ball(14)
    mask[ball(6)] = 0
    mask[20:][ball(6)[20:]] = OTHER
    return mask, fill_holes(mask, 2, **rule)


def borders(**rule: Any) -> tuple[Labels, Change]:
    mask = np.uint8(2) * ball(14)
    mask[16:25, 20:23, 20:23] = 0
    return mask, smooth(beside(mask), 2, SPACING, 4.0, **rule)


TOOLS = [slices, clicks, holes, borders]


@pytest.mark.parametrize("tool", TOOLS)
def test_others_are_taken_only_when_told_so_and_never_when_locked(tool: Tool) -> None:
    for rule, spared in (
        ({}, True),
        ({"over": True}, False),
        ({"over": True, "locked": {OTHER}}, True),
    ):
        mask, change = tool(**rule)  # type: ignore[misc]
        after = mask.copy()
        change.apply(after)
        assert ((after == 2) & (mask == 0)).any(), "background is taken"
        assert (broken(mask, after, {OTHER}) == {}) == spared, rule


def test_a_click_on_another_structure_needs_leave_to_take_it() -> None:
    mask = beside(np.uint8(2) * ball(9))
    on_other = [Click((31, 20, 20))]
    with pytest.raises(DataError, match="lies in structure 7; allow changes over others"):
        click(None, mask, 2, on_other, SPACING)
    assert click(None, mask, 2, on_other, SPACING, over=True).voxels
    assert click(None, mask, 2, [Click((31, 20, 20), add=False)], SPACING).voxels == 0, "it is none of it already"
