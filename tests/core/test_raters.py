"""Masks of several raters brought together: values of any size, and the code of what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from voxgraft.imaging.structures import Label, Labels
from voxgraft.labels.raters import majority, staple


@pytest.mark.parametrize("fuse", [majority, staple])
@pytest.mark.parametrize("high", [2, 255, 256, 65534, 65535])
def test_raters_agree_whatever_the_values_are(fuse, high: int) -> None:
    one = np.zeros((6, 6, 6), np.uint16)
    one[1:3], one[3:5] = 1, high
    other = one.copy()
    other[0, 0] = high
    assert np.array_equal(fuse([one, one, other], 3), one)


@pytest.mark.parametrize("fuse", [majority, staple])
def test_the_code_of_left_out_voxels_need_not_fit_the_masks_type(fuse) -> None:
    """Two masks of uint8 in which nothing is left out, of labels that use up to 255."""
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[:2] = 255
    assert np.array_equal(fuse([mask, mask], 3, 65535), mask)
    wide = mask.astype(np.uint16)
    wide[3] = 65535
    assert np.array_equal(fuse([mask, wide], 3, 65535), wide)


@pytest.mark.parametrize(
    ("values", "free"), [((1, 2), 255), ((254,), 255), ((255,), 65535), ((1, 65535), 65534), ((65534, 65535), 65533)]
)
def test_the_value_of_left_out_voxels_is_no_structures(values: tuple[int, ...], free: int) -> None:
    assert Labels(tuple(Label(value, str(value)) for value in values), bounded=True).ignored == free
