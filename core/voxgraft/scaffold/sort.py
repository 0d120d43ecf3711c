"""Which images of a tree belong to one case, and which are masks, by what is in them and by where they lie."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from ..checks.record import Look
from ..datasets.cases import Case, Dataset
from ..imaging.formats import unopened_problems
from ..imaging.volume import ImageRef
from ..support.texts import counted, listed, stem

FEW = 64
"""Different values that a mask has, at most."""

DEEPEST = 3
"""Folders, one in another, of which one may say what a file is."""

PERSON = re.compile(r"(?:case|patient|pat|pt|subject|subj|sub|person|volunteer|participant|p)[_. -]?\d", re.IGNORECASE)
"""How names of people begin where scans are numbered by them."""

Key = Callable[[PurePath], str]
"""What the case of a file is called; empty where the file has none."""


@dataclass(frozen=True, slots=True)
class _Grouping:
    """The files of a tree by case.

    Attributes:
        cases: For each case its files, by their paths without the name of the case.
        masks: The paths without the name of a case that are masks, what was drawn most finely first.
    """

    cases: Mapping[str, Mapping[str, ImageRef]]
    masks: tuple[str, ...]

    def mask_of(self, case: str) -> str | None:
        return next((name for name in self.masks if name in self.cases[case]), None)

    def images_of(self, case: str) -> set[str]:
        return self.cases[case].keys() - set(self.masks)

    @property
    def whole(self) -> list[str]:
        """Cases with an image and a mask."""
        return [case for case in self.cases if self.mask_of(case) is not None and self.images_of(case)]


def sort_tree(root: Path, dataset: Dataset, looks: Sequence[Look]) -> Dataset:
    """The cases of a tree whose files were taken for one case each, with a note on images that hold zeros only: they
    may be masks in which nothing is drawn.

    Args:
        root: The tree.
        dataset: Each file as a case.
        looks: At some of them.
    """
    found = _sorted(root, dataset, looks)
    taken = {part.path for case in found.cases for part in case.present}
    blank = sorted(path for look in looks if is_blank(look) and (path := look.case.present[0].path) in taken)
    if not blank:
        return found
    names = listed((path.relative_to(root).as_posix() for path in blank), 2)
    does = "holds zeros only and is taken for a scan" if len(blank) == 1 else "hold zeros only and are taken for scans"
    note = (
        f"{counted(len(blank), 'image')} of {len(looks)} that were read {does} ({names}): if these are masks, nothing "
        "is drawn in them; draw in them, or move them out of the folder"
    )
    return replace(found, notes=(*found.notes, note))


def _sorted(root: Path, dataset: Dataset, looks: Sequence[Look]) -> Dataset:
    """The cases of a tree whose files were taken for one case each.

    Files of one folder are a case, or those of one name in several folders, or those whose names begin alike, or either
    of the last two in each folder by itself, whichever makes most cases with an image and a mask. Masks are files of
    few whole numbers, most of them 0.

    Args:
        root: The tree.
        dataset: Each file as a case.
        looks: At some of them.

    Returns:
        The data set as it was where no file looks like a mask, or none belongs to an image; a note says so.
    """
    drawn = {look.case.present[0].path: look for look in looks if is_like_mask(look)}
    files = {part.path: part for case in dataset.cases for part in case.present if part.series is None}
    if not drawn or not files:
        return dataset
    seen = {look.case.present[0].path for look in looks if look.shape}
    keys = (_folder, _first, _name, _beginning, _end, _longer_beside(root, files), *map(_apart, range(DEEPEST)))
    found = [_grouping(root, files, key, seen, drawn) for key in keys]
    best = max(found, key=lambda one: len(one.whole))
    channels = _channels(best)
    if len(best.whole) < 2 or not channels:
        names = listed((path.relative_to(root).as_posix() for path in sorted(drawn)), 2)
        note = (
            f"{counted(len(drawn), 'image')} of {len(seen)} look like masks ({names}), and nothing says which images "
            "they belong to: list both in a table (data.layout: {use: csv, path: cases.csv}, columns case, patient, "
            "image, label), or give patterns of their names (use: pairs)"
        )
        images = tuple(case for case in dataset.cases if case.present[0].path not in drawn)
        return replace(dataset, cases=images or dataset.cases, notes=(*dataset.notes, note))
    return _as_cases(root, best, channels, dataset)


def is_blank(look: Look) -> bool:
    """Whether every voxel is 0."""
    return bool(look.channels) and all(one.least == 0 == one.greatest for one in look.channels)


def is_like_mask(look: Look) -> bool:
    """Few whole numbers, 0 among the most frequent."""
    if len(look.channels) != 1:
        return False
    one = look.channels[0]
    return one.whole and one.least == 0 and 2 <= one.distinct <= FEW and one.greatest <= 255 and one.at_least > 0.1


def _folder(path: PurePath) -> str:
    return path.parent.as_posix() if len(path.parts) > 1 else ""


def _first(path: PurePath) -> str:
    return path.parts[0] if len(path.parts) > 1 else ""


def _name(path: PurePath) -> str:
    return stem(Path(path.name))


def _beginning(path: PurePath) -> str:
    """A name without its last word."""
    name = stem(Path(path.name))
    return name[: max(name.rfind(mark) for mark in "_-. ")] if any(mark in name for mark in "_-. ") else ""


def _end(path: PurePath) -> str:
    """The last word of a name, as in `volume-7.nii` and `segmentation-7.nii`."""
    name = stem(Path(path.name))
    return name[max(name.rfind(mark) for mark in "_-. ") + 1 :]


def _longer_beside(root: Path, files: Iterable[Path]) -> Key:
    """In each folder by itself: a name, or the shorter one of a file beside it, as `case1` for `case1_drawn`."""
    names = {path.relative_to(root).parent / stem(path) for path in files}

    def key(path: PurePath) -> str:
        name = stem(Path(path.name))
        shorter = (path.parent / name[: mark.start()] for mark in re.finditer(r"[_\-. ]", name))
        return next((one for one in shorter if one in names), path.parent / name).as_posix()

    return key


def _apart(number: int) -> Key:
    """A path without one of its folders, which says what a file is, as in `images/siteA/case1` or `siteA/masks/case1`;
    nothing where no folder is left that tells cases of one name apart."""

    def key(path: PurePath) -> str:
        folders = [*path.parts[:-1][:number], *path.parts[:-1][number + 1 :]]
        return PurePath(*folders, stem(Path(path.name))).as_posix() if 0 < len(folders) < len(path.parts) - 1 else ""

    return key


def _grouping(
    root: Path, files: Mapping[Path, ImageRef], key: Key, seen: set[Path], drawn: Mapping[Path, Look]
) -> _Grouping:
    cases: dict[str, dict[str, ImageRef]] = {}
    read, masks, values = Counter[str](), Counter[str](), Counter[str]()
    for path, reference in files.items():
        relative = path.relative_to(root)
        case = key(relative)
        if not case:
            continue
        own = _without(relative, case)
        cases.setdefault(case, {})[own] = reference
        read[own] += path in seen
        masks[own] += path in drawn
        if path in drawn:
            values[own] = max(values[own], drawn[path].channels[0].distinct)
    kept = [own for own in masks if 2 * masks[own] > read[own]]
    return _Grouping(cases, tuple(sorted(kept, key=lambda own: (-values[own], own))))


def _without(path: PurePath, case: str) -> str:
    """A path without the name of its case, in folders and in the file's name."""
    last = case.rpartition("/")[2]
    folder = path.parent.as_posix()
    if folder == case:
        folder = ""
    elif folder.startswith(f"{case}/"):
        folder = folder.removeprefix(f"{case}/")
    return f"{folder}/{path.name.replace(last, '', 1)}"


def _channels(found: _Grouping) -> tuple[str, ...]:
    """The images that all whole cases have; one without a name where each has one, wherever it lies."""
    sets = [found.images_of(case) for case in found.whole]
    if not sets:
        return ()
    if all(len(images) == 1 for images in sets):
        return ("image",)
    return tuple(sorted(set.intersection(*sets)))


def _as_cases(root: Path, found: _Grouping, channels: tuple[str, ...], dataset: Dataset) -> Dataset:
    cases = []
    for case, parts in sorted(found.cases.items()):
        images = found.images_of(case)
        chosen = sorted(images)[:1] if len(channels) == 1 and channels[0] not in images else channels
        if not images or not set(chosen) <= images:
            continue
        mask = found.mask_of(case)
        patient = _patient(case)
        pictures = tuple(parts[name] for name in chosen)
        cases.append(Case(case.replace("/", "-"), patient, pictures, parts[mask] if mask else None))
    masks = [case.label.path for case in cases if case.label is not None]
    others = sum(len(parts) for parts in found.cases.values()) - len(masks) - len(cases) * len(channels)
    notes = [f"masks recognised by their values, such as {masks[0].relative_to(root).as_posix()}"]
    if len(found.masks) > 1 and any(len(parts.keys() & set(found.masks)) > 1 for parts in found.cases.values()):
        kinds = listed((name.strip("/") for name in found.masks), 3)
        notes.append(
            f"cases have several masks ({kinds}), and one of each is taken: for a file per structure, put those of a "
            "case into a folder and name them with labels: '{case}/masks/{structure}.nii.gz' (use: pairs)"
        )
    elif others:
        notes.append(f"not used: {counted(others, 'more image')} of the tree")
    return replace(
        dataset, cases=tuple(cases), channels=_named(channels), notes=(*dataset.notes, *notes), names_patients=False
    )


def _patient(case: str) -> str:
    """Whose a case is: as it is called where the name says that it is a person's, else as its first folder.

    Two cases of one name in two folders may be one person's, and all cases of a folder as well: whoever is taken for
    too few people has a smaller choice of splits, and no score that is too good.
    """
    first, _, rest = case.partition("/")
    last = rest.rpartition("/")[2]
    return last if PERSON.match(last) and not PERSON.match(first) else first


def _named(paths: Iterable[str]) -> tuple[str, ...]:
    """What channels are called: their files' names, without endings and what all of them share."""
    every = tuple(paths)
    names = [stem(Path(path)).strip("._- ") for path in every]
    return tuple(names) if len(set(names)) == len(names) and all(names) else tuple(f"c{n}" for n in range(len(every)))


def with_unused(folder: Path, dataset: Dataset) -> Dataset:
    """A note where files of the same kinds lie in the folder, and neither a case nor a note has them."""
    masks = (part for case in dataset.cases for part in case.raters.values())
    used = {_plain(part.path) for part in (*(one for case in dataset.cases for one in case.references), *masks)}
    kinds = {_ending(path.name) for path in used}
    others, told = Counter[str](), " ".join(dataset.notes)
    closed: list[Path] = []
    for root, folders, files in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        here = _plain(Path(root))
        folders[:] = [name for name in folders if name[0] != "." and here / name not in used]
        alike = [name for name in files if name[0] != "." and _ending(name) in kinds and name not in told]
        others[Path(root).relative_to(folder).as_posix()] += sum(here / name not in used for name in alike)
    dataset = replace(dataset, problems=(*dataset.problems, *unopened_problems(closed)))
    left = +others
    if not left:
        return dataset
    where = ", ".join("the folder itself" if name == "." else name for name, _ in left.most_common(3))
    note = f"not used: {counted(left.total(), 'more file')} of the same kind in {where}"
    return replace(dataset, notes=(*dataset.notes, note))


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _ending(name: str) -> str:
    return name[len(stem(Path(name))) :].lower()
