"""Series of which every second slice, or fewer, is here: their spacing is regular, and only the header can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_series import make_enhanced, make_series
from voxgraft.imaging.volume import Item
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.arange(6 * 5 * 12, dtype=np.int16).reshape(6, 5, 12)
AFFINE = np.diag([-0.7, -0.8, 2.5, 1.0])


def said(item: Item) -> list[str]:
    assert not item.errors
    return [problem.message for problem in item.problems if problem.code == "skipped-slices"]


def part(folder: Path, step: int, edit: Any = None, **changes: Any) -> list[str]:
    """What is said of each `step`-th slice of a series."""
    files = make_series(folder, ARRAY, AFFINE, edit=edit, SeriesInstanceUID="1.2.3", **changes)
    (item,) = DicomReader().scan(files[::step])
    assert item.shape == (6, 5, 12 // step) and item.spacing[2] == pytest.approx(2.5 * step)
    return said(item)


@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("changes", [{}, {"Modality": "MR", "SpacingBetweenSlices": 2.5}], ids=["numbers", "spacing"])
def test_every_nth_slice_is_said(tmp_path: Path, step: int, changes: dict[str, Any]) -> None:
    (message,) = part(tmp_path, step, **changes)
    assert f"{2.5 * step:.2f} mm" in message and f"only 1 in {step}" in message


def test_numbers_that_run_down_tell_it_too(tmp_path: Path) -> None:
    def from_above(k: int, slice_: Dataset) -> None:
        slice_.InstanceNumber = 100 - k

    assert part(tmp_path, 2, from_above)


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        (1, {"SpacingBetweenSlices": 2.5}),
        (1, {"SliceThickness": 1.25}),  # gaps as wide as the slices, all of which are here
        (2, {"SpacingBetweenSlices": 5.0}),  # the numbers count another contrast in the same place
        (2, {"SliceThickness": 5.0}),
        (1, {"SpacingBetweenSlices": 1.4}),  # neither a half nor a third: what it means nobody knows
        (2, {"SliceThickness": None}),
    ],
)
def test_gaps_and_numbers_that_are_usual_are_not_held_against_a_series(
    tmp_path: Path, step: int, changes: dict[str, Any]
) -> None:
    assert part(tmp_path, step, **changes) == []


def test_numbers_that_follow_no_rule_say_nothing(tmp_path: Path) -> None:
    def shuffled(k: int, slice_: Dataset) -> None:
        slice_.InstanceNumber = 1 + k % 3 * 4 + k // 3

    assert part(tmp_path, 2, shuffled) == []


@pytest.mark.parametrize(("stated", "warned"), [(1.25, True), (2.5, False)])
def test_frames_of_enhanced_objects_are_told_by_their_spacing(tmp_path: Path, stated: float, warned: bool) -> None:
    def spaced(dataset: Dataset) -> None:
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = stated

    (item,) = DicomReader().scan([make_enhanced(tmp_path / "e.dcm", ARRAY[None], AFFINE, edit=spaced)])
    assert bool(said(item)) is warned
