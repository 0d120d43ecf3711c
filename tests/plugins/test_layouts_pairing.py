"""Images and their masks are told apart by names, as people give them, in a folder whose layout nobody named."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.datasets.dataset import read_layout
from voxgraft_plugins.layouts.guess import pairs

HABITS = {
    "beside each other": ("{}.nii.gz", "{}_seg.nii.gz"),
    "a word for each": ("{}_ct.nii.gz", "{}_label.nii.gz"),
    "in two folders, of other kinds": ("pictures/{}_training.tif", "1st_manual/{}_manual1.gif"),
    "a folder for each case": ("{}/image.nii.gz", "{}/segmentation.nii.gz"),
    "a folder for each case, which its files name": ("{0}/{0}_flair.nii.gz", "{0}/{0}_t1.nii.gz", "{0}/{0}_seg.nii.gz"),
    "channels that share a word, beside a region": (
        "{}/Flair_normalised.nii.gz",
        "{}/T1c_normalised.nii.gz",
        "{}/OTMultiClass.nii.gz",
        "{}/brainmask.nii.gz",
    ),
    "two observers": ("{}.jpg", "{}_1stHO.png", "{}_2ndHO.png"),
    "a folder of structures for each case": (
        "{}/ct.nii.gz",
        "{}/segmentations/liver.nii.gz",
        "{}/segmentations/spleen.nii.gz",
    ),
}


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_is_known(habit: str, tmp_path: Path, catalogue: Catalogue) -> None:
    files = HABITS[habit]
    names = [one.format(case) for case in ("p1", "p2", "p10") for one in files]
    found = pairs(folder_of(tmp_path, *names, "readme.txt", ".hidden_seg.nii.gz"))
    assert found is not None
    dataset = read_layout(choose(catalogue, "layout", {"use": "pairs", **found}), catalogue)
    cases = {case.id: case for case in dataset.cases}
    assert sorted(cases) == ["p1", "p10", "p2"] and all(case.label is not None for case in cases.values())
    used = {part.path for case in cases.values() for part in case.present}
    assert used == {tmp_path / name for name in names if not MASKS & set(words(name))}


MASKS = {"seg", "label", "manual1", "OTMultiClass", "brainmask", "1stHO", "2ndHO"}


def words(name: str) -> list[str]:
    parts = Path(name).name.partition(".")[0].split("_")
    inside = {"segmentation": "seg", "liver": "seg", "spleen": "seg"}
    return [inside.get(part, part) for part in parts]


def test_cases_may_lie_in_groups(tmp_path: Path, catalogue: Catalogue) -> None:
    names = [
        f"{group}/{group}{n}/{group}{n}_{kind}.nii.gz" for group in "hl" for n in range(3) for kind in ("t1", "seg")
    ]
    found = pairs(folder_of(tmp_path, *names))
    assert found is not None and found["labels"] == "*/{case}/{case}_seg.nii.gz"
    dataset = read_layout(choose(catalogue, "layout", {"use": "pairs", **found}), catalogue)
    assert [case.id for case in dataset.cases] == ["h0", "h1", "h2", "l0", "l1", "l2"]


def test_channels_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    kinds = ("Flair_normalised.nii", "T1c_normalised.nii", "OTMultiClass.nii", "brainmask.nii")
    found = pairs(folder_of(tmp_path, *(f"p{number}/{kind}" for number in range(2) for kind in kinds)))
    assert found is not None and list(found["images"]) == ["Flair", "T1c"]
    assert found["labels"] == "{case}/OTMultiClass.nii"


def test_folders_that_are_parted_are_no_series(tmp_path: Path) -> None:
    names = [f"{kind}/{part}/x{part}.png" for kind in ("images", "labels") for part in ("train", "val")]
    assert pairs(folder_of(tmp_path, *names)) is None


def test_what_was_drawn_is_taken_before_a_mere_field_of_view(tmp_path: Path) -> None:
    names = [f"{kind}" for number in range(21, 25) for kind in drive(number)]
    found = pairs(folder_of(tmp_path, *names))
    assert found == {
        "path": tmp_path,
        "images": "images/{case}_training.tif",
        "labels": "1st_manual/{case}_manual1.gif",
        "unlabelled": "keep",
    }


def drive(number: int) -> tuple[str, str, str]:
    return f"images/{number}_training.tif", f"1st_manual/{number}_manual1.gif", f"mask/{number}_training_mask.gif"


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a.txt", "b.txt"),
        ("a.nii.gz", "b.nii.gz"),  # nothing but images
        ("a_seg.nii.gz", "b_seg.nii.gz"),  # nothing but masks
        ("a.nii.gz", "a_seg.nii.gz", "b.nii.gz"),  # one case is no habit
        ("a_1.nii.gz", "b_2.nii.gz", "a_seg.nii.gz", "b_seg.nii.gz"),  # no image is called the same way twice
        ("{a}.nii.gz", "{a}_seg.nii.gz", "{b}.nii.gz", "{b}_seg.nii.gz"),  # no pattern can hold these
        ("a.nii.gz", "b.nii.gz", "a_seg.nii.gz", "b_seg.nii.gz", "dataset.json"),
    ],
)
def test_what_is_no_habit_is_left_to_others(names: tuple[str, ...], tmp_path: Path) -> None:
    assert pairs(folder_of(tmp_path, *names)) is None
