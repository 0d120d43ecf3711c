"""Whether a folder whose layout nobody named looks like one of these, and the options to read it with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

IMAGES = ("images", "image", "imgs", "img", "imagestr")
LABELS = ("labels", "label", "masks", "mask", "labelstr", "annotations", "segmentations", "gt")
"""Folders of images and of their masks, as people call them; case does not matter."""


def decathlon(folder: Path) -> Mapping[str, Any] | None:
    """A folder with dataset.json, unless that is nnU-Net's."""
    return {"path": folder} if (folder / "dataset.json").is_file() and not _is_nnunet(folder) else None


def nnunet(folder: Path) -> Mapping[str, Any] | None:
    """A folder whose dataset.json lists no cases and says how image files end."""
    return {"path": folder} if _is_nnunet(folder) else None


def bids(folder: Path) -> Mapping[str, Any] | None:
    """Folders of subjects beside a description; masks, where there are any, need not be complete."""
    subjects = any(path.is_dir() and path.name.startswith("sub-") for path in folder.iterdir())
    if not subjects or not (folder / "dataset_description.json").is_file():
        return None
    masks = "derivatives" if (folder / "derivatives").is_dir() else None
    return {"path": folder, "masks": masks, "unlabelled": "keep"}


def csv(folder: Path) -> Mapping[str, Any] | None:
    """A folder with one table that has a column of images."""
    from voxgraft.plugin import DataError

    from .tables import read_table

    tables = []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in (".csv", ".tsv") and path.is_file()):
        try:
            columns = read_table(path).columns
        except DataError:
            continue
        if any(column == "image" or column.startswith("image_") for column in columns):
            tables.append(path)
    return {"path": tables[0], "unlabelled": "keep"} if len(tables) == 1 else None


def _is_nnunet(folder: Path) -> bool:
    from voxgraft.plugin import DataError

    from .datasetjson import load_json

    try:
        document = load_json(folder / "dataset.json")
    except DataError:
        return False
    return (
        isinstance(document, dict)
        and "training" not in document
        and ("file_ending" in document or "dataset" in document)
    )


def pairs(folder: Path) -> Mapping[str, Any] | None:
    """Images beside masks, by their folders or by their names, where no other file says more."""
    if any((folder / name).exists() for name in ("dataset.json", "dataset_description.json")):
        return None
    folders = {path.name.lower(): path.name for path in sorted(folder.iterdir()) if path.is_dir()}
    both = [(folders[one], folders[two]) for one in IMAGES for two in LABELS if one in folders and two in folders]
    same = next((names for names in both if _names(folder / names[0]) & _names(folder / names[1])), None)
    from .pairing import by_names

    found = by_names(folder) if same is None else None
    if found is None and both and not any(_parted(folder / name) for name in both[0]):
        images, labels = same or both[0]
        found = {"images": images, "labels": labels}
    return {"path": folder, **found, "unlabelled": "keep"} if found is not None else None


def _names(folder: Path) -> set[str]:
    """What its images, or series, are called; nothing where it is parted."""
    from voxgraft.plugin import stem

    return set() if _parted(folder) else {stem(path) for path in folder.iterdir() if not path.name.startswith(".")}


def _parted(folder: Path) -> bool:
    """Whether images lie in folders of it, such as `train` and `val`, which are no DICOM series."""
    from .pairing import ENDINGS

    inside = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    first = next(inside, None)
    return first is not None and any(path.name.lower().endswith(ENDINGS) for path in first.iterdir())
