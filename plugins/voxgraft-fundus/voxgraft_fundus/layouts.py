"""DRIVE and CHASE_DB1 as they are published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voxgraft.plugin import Case, DataError, Dataset, ImageRef, Label, Labels, Split

from .options import ChaseOptions, DriveOptions

VESSELS = Labels((Label(1, "vessel", None, (1, 255)),))
COLOURS = ("red", "green", "blue")
OBSERVERS = {"first": ("1st_manual", "manual1"), "second": ("2nd_manual", "manual2")}
"""The folders of DRIVE's observers, and how their files' names end."""

CHASE_TRAINING = 10
"""The children of the split that the literature uses: both eyes of the first ten are learnt from."""


class DriveLayout:
    """A case for each photograph `NN_training.tif` or `NN_test.tif`, with its observers and its field of view.

    Which photographs are of one patient is not published; each counts as a patient of its own.
    """

    def __init__(self, options: DriveOptions) -> None:
        self._options = options

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: There is no such folder, it is not DRIVE, or a photograph lacks the mask of its field of view.
        """
        options = self._options
        found = dict(_drive_photographs(options.path))
        parts = {part: [name for name in found if name.endswith(part)] for part in ("training", "test")}
        wanted = parts[options.part] if options.part != "all" else [*parts["training"], *parts["test"]]
        if not wanted:
            what = "NN_training.tif or NN_test.tif" if options.part == "all" else f"NN_{options.part}.tif"
            raise DataError(f"{options.path}: holds no photographs such as images/{what}; it is not DRIVE's folder")
        splits = (Split(tuple(parts["training"]), tuple(parts["test"])),) if options.part == "all" else ()
        splits = splits if all(parts.values()) else ()
        return Dataset(tuple(self._case(name, found[name]) for name in wanted), COLOURS, VESSELS, splits=splits)

    def _case(self, name: str, image: Path) -> Case:
        number, folder = name.split("_")[0], image.parent.parent
        drawn = {who: folder / place / f"{number}_{end}.gif" for who, (place, end) in OBSERVERS.items()}
        raters = {who: ImageRef(path) for who, path in drawn.items() if path.is_file()}
        field = folder / "mask" / f"{name}_mask.gif"
        files = self._options.field_of_view == "files"
        if files and raters and not field.is_file():
            raise DataError(
                f"{field}: there is no such file, which says where {image.name} counts; add it, or let the option "
                "field_of_view be found"
            )
        return Case(name, name, (ImageRef(image),), raters=raters, valid=ImageRef(field) if files and raters else None)


class ChaseLayout:
    """A case for each photograph, `Image_01L.jpg` and so on; both eyes of a child are one patient."""

    def __init__(self, options: ChaseOptions) -> None:
        self._options = options

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: There is no such folder, or it is not CHASE_DB1.
        """
        folder = self._options.path
        images = folder / "images" if (folder / "images").is_dir() else folder
        found = sorted(path for path in images.glob("*.jpg") if re.fullmatch(r"Image_\d\d[LR]", path.stem))
        if not found:
            raise DataError(f"{folder}: holds no photographs such as Image_01L.jpg; it is not CHASE_DB1's folder")
        cases = tuple(self._case(path, folder) for path in found)
        learnt = tuple(case.id for case in cases if int(case.patient.removeprefix("child")) <= CHASE_TRAINING)
        scored = tuple(case.id for case in cases if case.id not in learnt)
        splits = (Split(learnt, scored),) if learnt and scored else ()
        return Dataset(cases, COLOURS, VESSELS, splits=splits, names_patients=True)

    def _case(self, image: Path, folder: Path) -> Case:
        name = image.stem
        raters = dict(_chase_masks(folder, name))
        return Case(name, f"child{name[6:8]}", (ImageRef(image),), facts={"eye": name[8]}, raters=raters)


def guess_drive(folder: Path) -> Mapping[str, Any] | None:
    """The options for a folder of photographs and drawings that are named as DRIVE's."""
    drawn = any((one / "1st_manual").is_dir() for one in _drive_folders(folder))
    return {"path": folder} if drawn and any(_drive_photographs(folder)) else None


def guess_chase(folder: Path) -> Mapping[str, Any] | None:
    """The options for a folder of masks that are named as CHASE_DB1's."""
    return {"path": folder} if any(folder.glob("Image_[0-9][0-9][LR]_1stHO.png")) else None


def _drive_folders(folder: Path) -> list[Path]:
    return [one for one in (folder, folder / "training", folder / "test") if (one / "images").is_dir()]


def _drive_photographs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names such as `21_training`, and their files."""
    for one in _drive_folders(folder):
        for path in sorted((one / "images").iterdir()):
            if re.fullmatch(r"\d\d_(training|test)\.tif", path.name):
                yield path.stem, path


def _chase_masks(folder: Path, name: str) -> Iterator[tuple[str, ImageRef]]:
    """The masks of the observers that are there."""
    places: Mapping[str, tuple[Path, Path]] = {
        "first": (folder / f"{name}_1stHO.png", folder / "labels" / f"{name}.png"),
        "second": (folder / f"{name}_2ndHO.png", folder / "labels_2nd_observer" / f"{name}.png"),
    }
    for who, paths in places.items():
        if path := next((path for path in paths if path.is_file()), None):
            yield who, ImageRef(path)
