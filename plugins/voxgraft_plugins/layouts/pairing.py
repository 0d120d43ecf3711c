"""Which files of a folder are masks by their names, and the patterns that pair them with their images."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from voxgraft.plugin import stem

from .patterns import Pattern

_WORD = (
    r"(?:d?segs?|segmentations?|segmented|labels?|masks?|manual|gt|(?:ground[_-]?)?truth|annotations?|annotated"
    r"|rois?|contours?|(?:OT)?multi[_-]?class|(?:1st|2nd)HO|(?:observer|rater|reader|expert)[_-]?)\d*"
)
_MASK = re.compile(rf"(?P<case>.*?)(?P<rest>(?:^|[._ -]){_WORD})", re.I)
_FOLDER = re.compile(rf"(?:.*[._ -])?{_WORD}", re.I)
_REGION = re.compile(r"(?:^|.*[._ -])(?:(?:brain|body|head|skull|fov|valid)[._ -]?masks?|fov)", re.I)
"""Where there is something to see: a mask by its name, and rarely what is to be learnt."""
ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif")
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
    at least two cases. Folders in which each of several images has a mask hold cases; a pattern that takes two of one
    name in two folders for one case is none.
    """
    files = list(islice(_files(folder), _MOST))
    beside = _side_by_side(files)
    groups = _hold_cases(files)
    if groups and len({text.rpartition("/")[0] for text in beside[1]}) > 1:  # one pattern finds those of one folder
        return None
    for images, masks in [beside] if groups else [_in_folders_of_cases(files), beside]:
        # what was drawn before a mere field of view, which is called a mask too
        for labels in sorted(masks, key=lambda text: (-len(masks[text]), *_doubts(text), text)):
            cases = masks[labels]
            chosen = _channels({text for text, known in images(cases).items() if cases <= known})
            texts = [chosen] if isinstance(chosen, str) else list((chosen or {}).values())
            if len(cases) < 2 or not texts or not _finds(folder, labels, cases):
                continue
            if all(_once(folder, text) for text in texts):
                return {"images": chosen, "labels": labels}
    return None


def is_region(name: str) -> bool:
    """Whether a file's name says that it bounds what there is to see, such as `brainmask.nii.gz`."""
    return _REGION.fullmatch(stem(Path(name))) is not None


def _doubts(text: str) -> tuple[bool, bool]:
    return is_region(text.rpartition("/")[2]), "mask" in text.lower()


def _files(folder: Path) -> Iterator[PurePosixPath]:
    """Images of the folder and up to two folders below it, relative to it."""
    for root, folders, files in os.walk(folder):
        inside = PurePosixPath(Path(root).relative_to(folder).as_posix())
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if len(inside.parts) < 2 else []
        yield from (inside / name for name in sorted(files) if name.lower().endswith(ENDINGS) and name[0] != ".")


def _hold_cases(files: list[PurePosixPath]) -> bool:
    """Whether folders of the data set hold cases and are none: several images of one have a mask each, beside them
    under a longer name, or in a folder beside them under their own."""
    images, drawn = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for path in files:
        if len(path.parts) > 1:
            name = stem(Path(path.name))
            found = _MASK.fullmatch(name)
            if len(path.parts) == 3 and _FOLDER.fullmatch(path.parts[1]):
                drawn[path.parts[0]].add(name)
            elif found and found["case"]:
                drawn[str(path.parent)].add(found["case"])
            else:
                images[path.parts[0]].add(name)
                images[str(path.parent)].add(name)
    return any(len(names & images[folder]) > 1 for folder, names in drawn.items() if folder in images)


def _in_folders_of_cases(files: list[PurePosixPath]) -> tuple[Images, Templates]:
    """Templates of images and of masks where a folder is the case; names may begin with the case.

    The folder of the case is the first, or the second where the first groups cases, as `HGG` and `LGG` do.
    """
    images: Templates = {}
    masks: Templates = {}
    deep = [path.parts for path in files if len(path.parts) == 3 and not _FOLDER.fullmatch(path.parts[1])]
    grouped = len({parts[1] for parts in deep}) > len({parts[0] for parts in deep})
    for path in files:
        if len(path.parts) < 2 or "{" in str(path):
            continue
        *folders, name = path.parts
        if len(folders) == 2 and _FOLDER.fullmatch(folders[1]):
            ending = name[len(stem(Path(name))) :]
            masks.setdefault(f"{{case}}/{folders[1]}/{{structure}}{ending}", set()).add(folders[0])
            continue
        case = folders[-1] if grouped else folders[0]
        own = name.removeprefix(case)
        place = "/".join(["*", "{case}"][-len(folders) :] if grouped else ["{case}", *folders[1:]])
        place += "/{case}" + own if own != name else f"/{name}"
        word = stem(Path(own))
        kind = masks if _MASK.fullmatch(word) or _REGION.fullmatch(word) else images
        kind.setdefault(place, set()).add(case)
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
    named = dict(zip(_own_words([text.rpartition("/")[2] for text in sorted(texts)]), sorted(texts), strict=True))
    together = len({text.rpartition("/")[0] for text in texts}) == 1
    return named if texts and together and all(named) and len(named) == len(texts) else None


def _own_words(names: list[str]) -> list[str]:
    """What tells names apart: `Flair_normalised.nii` and `T1c_normalised.nii` are Flair and T1c."""
    words = [re.split(r"[._ -]+", stem(Path(name.replace("{case}", ""))).strip("._ -")) for name in names]
    for end in (0, -1):
        while words and min(map(len, words)) > 1 and len({word[end] for word in words}) == 1:
            words = [word[1:] if end == 0 else word[:-1] for word in words]
    return ["_".join(word) for word in words]


def _finds(folder: Path, text: str, cases: set[str]) -> bool:
    """Whether a pattern finds these cases: its place takes as few letters as it can, which may be fewer than meant."""
    return cases == {places["case"] for _, places in Pattern(text).find(folder)} and _once(folder, text)


def _once(folder: Path, text: str) -> bool:
    """Whether a pattern gives no case two files for one purpose."""
    found = Counter(tuple(places.items()) for _, places in Pattern(text).find(folder))
    return max(found.values(), default=1) == 1
