"""Laws of the type in which writers store masks: the smallest that holds all values, and nothing else is a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voxgraft.errors import DataError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.write import mask_values

TARGET = Path("mask.nii.gz")


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, ">i2", np.uint16, np.int64, np.uint64])
@pytest.mark.parametrize(("label", "wanted"), [(1, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_values_stay_and_a_label_that_did_not_occur_has_room(kind: object, label: int, wanted: type) -> None:
    mask = np.array([[0, 1], [1, 0]], kind)  # type: ignore[call-overload]
    stored = mask_values(mask, Labels.of({"a": label}), TARGET)
    assert stored.dtype == wanted and stored.dtype.isnative and np.array_equal(stored, mask)


def test_a_large_value_takes_the_larger_type() -> None:
    assert mask_values(np.array([0, 300]), Labels.of({"a": 1}), TARGET).dtype == np.uint16
    assert mask_values(np.zeros((0, 2), np.int32), Labels.of({"a": 1}), TARGET).dtype == np.uint8


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.array([0.0, 1.0]), "whole numbers, this one is of type float64"),
        (np.array([0, -1]), "from 0 to 65535, this one has -1"),
        (np.array([0, 65536]), "from 0 to 65535, this one has 65536"),
    ],
)
def test_other_values_are_refused(mask: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        mask_values(mask, Labels.of({"a": 1}), TARGET)
