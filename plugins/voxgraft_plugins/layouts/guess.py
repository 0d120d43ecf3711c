"""What layout a folder has that nobody named: which files are masks by their names, and patterns that pair them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from voxgraft.plugin import stem

from .patterns import Pattern

_WORD = r"(?:d?segs?|segmentations?|labels?|masks?|manual|gt|ground[_-]?truth|annotations?)\d*"
_MASK = re.compile(rf"(?P<case>.*?)(?P<rest>(?:^|[._ -]){_WORD})", re.I)
_FOLDER = re.compile(rf"(?:.*[._ -])?{_WORD}", re.I)
_ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif")
_MOST = 50_000
"""Files that are looked at."""

Templates = dict[str, set[str]]
"""For each pattern the cases that have a file which fits it."""
Images = Callable[[set[str]], Templates]
"""Templates of images, given the cases that have a mask."""


def by_names(folder: Path) -> Mapping[str, Any] | None:
    """Options `images` and `labels` of the layout `pairs` for one of three habits; None where none of them fits.

    A mask is called as its image and a word such as `_seg`, in one folder or in two; or each case has a folder, with
    a file of masks in it; or with a folder of masks in it, one for each structure. All masks must follow the habit, and
    at least two cases.
    """
    files = list(islice(_files(folder), _MOST))
    for images, masks in (_in_folders_of_cases(files), _side_by_side(files)):
        # what was drawn before a mere field of view, which is called a mask too
        for labels in sorted(masks, key=lambda text: (-len(masks[text]), "mask" in text.lower(), text)):
            cases = masks[labels]
            chosen = _channels({text for text, known in images(cases).items() if cases <= known})
            if len(cases) > 1 and chosen is not None and _finds(folder, labels, cases):
                return {"images": chosen, "labels": labels}
    return None


def _files(folder: Path) -> Iterator[PurePosixPath]:
    """Images of the folder and up to two folders below it, relative to it."""
    for root, folders, files in os.walk(folder):
        inside = PurePosixPath(Path(root).relative_to(folder).as_posix())
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if len(inside.parts) < 2 else []
        yield from (inside / name for name in sorted(files) if name.lower().endswith(_ENDINGS) and name[0] != ".")


def _in_folders_of_cases(files: list[PurePosixPath]) -> tuple[Images, Templates]:
    """Templates of images and of masks where the first folder is the case; names may begin with the case."""
    images: Templates = {}
    masks: Templates = {}
    for path in files:
        if len(path.parts) < 2 or "{" in str(path):
            continue
        case, name = path.parts[0], path.name
        own = name.removeprefix(case)
        place = "{case}" + own if own != name else name
        if len(path.parts) == 3:
            if _FOLDER.fullmatch(path.parts[1]):
                ending = name[len(stem(Path(name))) :]
                masks.setdefault(f"{{case}}/{path.parts[1]}/{{structure}}{ending}", set()).add(case)
        elif _MASK.fullmatch(stem(Path(own))):
            masks.setdefault(f"{{case}}/{place}", set()).add(case)
        else:
            images.setdefault(f"{{case}}/{place}", set()).add(case)
    return lambda cases: images, masks


def _side_by_side(files: list[PurePosixPath]) -> tuple[Images, Templates]:
    """Templates of images and of masks where the name begins with the case."""
    masks: Templates = {}
    others = []
    for path in files:
        found = _MASK.fullmatch(stem(Path(path.name)))
        if len(path.parts) > 2 or "{" in str(path):
            continue
        if found and found["case"]:
            ending = path.name[len(stem(Path(path.name))) :]
            masks.setdefault(str(path.parent / f"{{case}}{found['rest']}{ending}"), set()).add(found["case"])
        else:
            others.append(path)
    return partial(_beginning_with, others), masks


def _beginning_with(files: list[PurePosixPath], cases: set[str]) -> Templates:
    """Templates of the files whose names begin with one of these cases, the longest that fits."""
    images: Templates = {}
    for path in files:
        name = path.name
        longest = next((name[:end] for end in range(len(stem(Path(name))), 0, -1) if name[:end] in cases), None)
        if longest is not None:
            images.setdefault(str(path.parent / f"{{case}}{name[len(longest) :]}"), set()).add(longest)
    return images


def _channels(texts: set[str]) -> str | dict[str, str] | None:
    """One pattern, or a name for each of several that lie together; None where nothing says what is the image."""
    if len(texts) == 1:
        return texts.pop()
    named = {stem(Path(text.rpartition("/")[2].replace("{case}", ""))).strip("._ -"): text for text in sorted(texts)}
    together = len({text.rpartition("/")[0] for text in texts}) == 1
    return named if texts and together and all(named) and len(named) == len(texts) else None


def _finds(folder: Path, text: str, cases: set[str]) -> bool:
    """Whether a pattern finds these cases: its place takes as few letters as it can, which may be fewer than meant."""
    return cases == {places["case"] for _, places in Pattern(text).find(folder)}


PAIRS = (("images", "labels"), ("images", "masks"), ("imagesTr", "labelsTr"), ("image", "label"), ("image", "mask"))
"""Folders of images and of their masks, as people call them."""


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
    for images, labels in PAIRS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return {"path": folder, "images": images, "labels": labels, "unlabelled": "keep"}
    from .guess import by_names

    found = by_names(folder)
    return {"path": folder, **found, "unlabelled": "keep"} if found is not None else None
