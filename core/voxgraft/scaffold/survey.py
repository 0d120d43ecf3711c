"""What a folder of scans holds, as far as a workflow file must know it: layout, modality, axes, structures, sizes."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks.guess import guess_dataset
from ..checks.look import look_at
from ..checks.purpose import NAMES, judge_voxels
from ..checks.record import Look
from ..components.catalogue import Catalogue
from ..components.choice import Selected, choose
from ..datasets.cases import Case, Dataset, Layout
from ..datasets.dataset import read_layout
from ..errors import DataError
from ..imaging.structures import Labels
from ..imaging.volume import MaskRef
from ..preprocessing.modality import ModalitySpec, like_hounsfield, modality_for
from ..support.progress import Progress
from ..support.texts import counted
from ..support.workers import in_threads
from .sort import sort_tree, with_unused

COLOURS = 3
"""Channels of a colour photograph."""

LOSSY = 8
"""Structures of masks that were saved as JPEG, at most: it makes more values of two."""

NEAR = 32
"""JPEG makes of black and white values that are at most so far from 0 and 255."""

MOST, FEWEST, SECONDS = 200, 16, 60.0
"""Cases that stand for twice as many and more; cases that are read however long they take; after so many seconds no
more are begun."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a folder holds.

    Attributes:
        layout: How it is laid out; None where no installed layout knows it, and it is a tree of images.
        modality: The name of a modality's component.
        reason: Why this one, for a person.
        axes: 2 for pictures, 3 for volumes.
        shape: The median of the images' voxels along each axis, in RAS order.
        spacing: The median spacing along the same axes, in mm.
        structures: Name to value of each structure, background left out; empty where nothing is labelled.
        named: Whether the names of the structures come from the data set.
        lossy: Masks are black and white, and JPEG made other values of them.
        looked: Cases that were read: all, or as many as stand for the rest.
        left_out: The cases that were read and cannot be used, which the data set no longer has, and why.
    """

    folder: Path
    layout: Selected[Layout] | None
    dataset: Dataset
    modality: str
    reason: str
    axes: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    structures: dict[str, int]
    named: bool
    lossy: bool
    looked: int
    left_out: Mapping[str, str]

    @property
    def labelled(self) -> int:
        """Cases with a mask."""
        return sum(case.label is not None for case in self.dataset.cases)

    @property
    def sampled(self) -> bool:
        """Whether there are cases that were not read."""
        return self.looked < len(self.dataset.cases) + len(self.left_out)

    @property
    def patients(self) -> int:
        """Patients of the cases with a mask, or of all where none has one."""
        cases, labelled = self.dataset.cases, self.labelled
        return len({case.patient for case in cases if case.label is not None or not labelled})


def survey(folder: Path, catalogue: Catalogue, progress: Progress | None = None) -> Survey:
    """Find the layout of a folder and read its cases once, of many as many as stand for the rest.

    Args:
        folder: A data set of any layout that a plugin knows, or a tree of images.
        catalogue: Offers layouts, readers and modalities.
        progress: Shows how many cases have been read.

    Raises:
        UsageError: There is no such folder.
        DataError: It holds no image that can be read, no mask with a structure, or its layout is broken.
    """
    layout, dataset, looks = _read(folder, catalogue, progress or Progress(quiet=True))
    read = [look for look in looks if look.shape]
    if not read:
        first = next((problem.message for look in looks for problem in look.problems), "it holds no image")
        raise DataError(f"{folder}: none of its {len(looks)} cases can be read: {first}")
    axes, channels = Counter((len(look.shape), len(look.channels)) for look in read).most_common(1)[0][0]
    alike = [look for look in read if (len(look.shape), len(look.channels)) == (axes, channels)]
    modality, reason = _modality(folder, dataset, alike, axes, catalogue)
    structures, named = _structures(dataset, looks)
    if not structures and len(looks) == len(dataset.cases):
        _refuse_empty(folder, looks, axes, channels)
    lossy = not named and _is_spread(structures.values()) and all(_is_jpeg(case) for case in dataset.cases)
    structures = {"structure": 1} if lossy else structures
    dataset, left_out = _usable(dataset, {look.case.id: _fault(look, axes, channels) for look in looks})
    return Survey(
        folder=folder,
        layout=layout,
        dataset=dataset,
        modality=modality,
        reason=reason,
        axes=axes,
        shape=tuple(int(size) for size in np.median([look.shape for look in alike], axis=0).round()),
        spacing=tuple(float(f"{step:.4g}") for step in np.median([look.spacing for look in alike], axis=0)),
        structures=structures,
        named=named and not structures_by_file(dataset),
        lossy=lossy,
        looked=len(looks),
        left_out=left_out,
    )


def _read(
    folder: Path, catalogue: Catalogue, progress: Progress
) -> tuple[Selected[Layout] | None, Dataset, list[Look]]:
    """The layout of a folder, its cases, and a look at all or some of them."""
    with progress.bar(f"looking through {folder}", None):
        layout, dataset = guess_dataset(folder, catalogue)
    by_file = structures_by_file(dataset)
    if by_file and dataset.labels is None:
        dataset = replace(dataset, labels=Labels.of(by_file))
    looks = _looks(dataset, catalogue, progress)
    if layout is None:
        before, dataset = dataset.cases, sort_tree(folder, dataset, looks)
        return None, dataset, looks if dataset.cases is before else _looks(dataset, catalogue, progress)
    if layout.name == "dicom":
        return _of_one_modality(layout, dataset, looks, catalogue)
    return layout, with_unused(folder, dataset), looks


def _looks(dataset: Dataset, catalogue: Catalogue, progress: Progress) -> list[Look]:
    """All cases, or some of many, drawn evenly and always the same ones."""
    number = len(dataset.cases)
    cases = random.Random(0).sample(dataset.cases, number if number <= 2 * MOST else MOST)
    until = time.monotonic() + SECONDS

    def look(numbered: tuple[int, Case]) -> Look | None:
        late = numbered[0] >= FEWEST and time.monotonic() > until
        return None if late else look_at(numbered[1], catalogue, dataset.labels)

    drawn = "" if len(cases) == number else f" of {number}"
    found = in_threads(look, list(enumerate(cases)), progress, f"reading {len(cases)}{drawn} cases")
    order = {case.id: number for number, case in enumerate(dataset.cases)}
    return sorted((one for one in found if one is not None), key=lambda one: order[one.case.id])


def _refuse_empty(folder: Path, looks: Sequence[Look], axes: int, channels: int) -> None:
    """Refuse masks of which none holds a structure: the workflow would have nothing to learn."""
    masked = [look for look in looks if look.case.label is not None]
    if not masked:
        return
    for look in masked:
        if fault := _fault(look, axes, channels):
            raise DataError(f"{folder}: none of its masks can be used ({look.case.id}: {fault})")
    raise DataError(
        f"{folder}: {counted(len(masked), 'mask')}, and every voxel is background: there is nothing to learn"
    )


def _fault(look: Look, axes: int, channels: int) -> str:
    """Why a case cannot be used; empty where it can."""
    problems = [*look.problems, *judge_voxels(look, ())]
    for problem in problems:
        if problem.severity == "error":
            return problem.message
    if (len(look.shape), len(look.channels)) != (axes, channels):
        found = f"{len(look.shape)} axes and {counted(len(look.channels), 'channel')}"
        return f"it has {found}, most have {axes} and {channels}"
    return ""


def _usable(dataset: Dataset, faults: Mapping[str, str]) -> tuple[Dataset, dict[str, str]]:
    """The data set without the cases at fault, and why; with them where they are half or more, for then all is."""
    wrong = {case: why for case, why in faults.items() if why}
    if not wrong:
        return dataset, {}
    if 2 * len(wrong) >= len(faults):
        case, why = next(iter(wrong.items()))
        note = f"{len(wrong)} of {len(faults)} cases cannot be used as they are; correct them first ({case}: {why})"
        return replace(dataset, notes=(*dataset.notes, note)), {}
    return replace(dataset, cases=tuple(case for case in dataset.cases if case.id not in wrong)), wrong


def _of_one_modality(
    layout: Selected[Layout], dataset: Dataset, looks: list[Look], catalogue: Catalogue
) -> tuple[Selected[Layout], Dataset, list[Look]]:
    """Where a tree of DICOM series holds several modalities, the one that is there most often: a model learns one."""
    codes = Counter(look.modality for look in looks if look.modality is not None)
    if len(codes) < 2:
        return layout, dataset, looks
    code = min(codes, key=lambda one: (-codes[one], one))
    options = {"use": layout.name, **layout.options.model_dump(exclude_unset=True), "modality": [code]}
    layout = choose(catalogue, "layout", options)
    dataset = read_layout(layout, catalogue)
    names = {case.id for case in dataset.cases}
    others = ", ".join(f"{codes[other]} {other}" for other in sorted(codes) if other != code)
    note = f"a model learns from one modality: {code} is taken, {others} left out; data.layout.modality says which"
    return layout, replace(dataset, notes=(*dataset.notes, note)), [look for look in looks if look.case.id in names]


def _modality(
    folder: Path, dataset: Dataset, looks: Sequence[Look], axes: int, catalogue: Catalogue
) -> tuple[str, str]:
    """By what the files say, then by the names of channels, by the numbers themselves, and by the folder's name."""
    specs: list[Any] = [spec for _, spec in catalogue.of("modality") if isinstance(spec, ModalitySpec)]
    by_code = {code: modality_for(code, specs) or "" for spec in specs for code in spec.dicom}
    codes = Counter(look.modality for look in looks if look.modality in by_code)
    if codes:
        code = codes.most_common(1)[0][0]
        return by_code[code], f"the files say {code}"
    for name in dataset.channels:
        word = re.sub("[^a-z0-9]", "", name.casefold())
        code = NAMES.get(word, NAMES.get(word.rstrip("cegdw"), name.upper()))  # T1c, T1ce, T1Gd, T2w
        if code in by_code:
            return by_code[code], f"the data set calls its channel {name!r}"
    channels = [channel for look in looks for channel in look.channels]
    if axes == 2 and all(len(look.channels) == COLOURS for look in looks):
        return "rgb", "2D pictures of three channels"
    hounsfield = [like_hounsfield(channel.low, channel.high, channel.whole) for channel in channels]
    if hounsfield and sum(hounsfield) > len(hounsfield) / 2:
        return "ct", "the voxels look like Hounsfield units"
    if axes == 2:
        return "image", "2D pictures of one channel"
    files = [look.case.present[0].path.name for look in looks]
    said = [
        (set.intersection(*map(_codes, files)), f"the files have names such as {files[0]!r}"),
        (_codes(folder.resolve().name), "the folder's name says it"),
    ]
    for named, reason in said:
        if len(known := named & by_code.keys()) == 1:
            return by_code[known.pop()], reason
    return "mr", "nothing in the files says it, and the voxels are not Hounsfield units: correct it if it is wrong"


def _codes(name: str) -> set[str]:
    """The modalities that words of a name stand for."""
    return {NAMES[word] for word in re.split(r"[^a-z0-9]+", name.casefold()) if word in NAMES}


def structures_by_file(dataset: Dataset) -> dict[str, int]:
    """Name to value where each structure of a case has a file of its own, called as it; they are numbered by name."""
    masks = (case.label for case in dataset.cases)
    parts = (mask.named for mask in masks if isinstance(mask, MaskRef) and mask.rule == "structures")
    names = sorted({name for named in parts for name, _ in named})
    return {name: value for value, name in enumerate(names, start=1)}


def _is_spread(values: Iterable[int]) -> bool:
    """Whether JPEG may have made these values of black and white: too many, or all beside the two and some white."""
    found = set(values)
    beside = all(min(value, 255 - value) < NEAR for value in found)
    return len(found) > LOSSY or (len(found) > 1 and beside and max(found) > 255 - NEAR)


def _is_jpeg(case: Case) -> bool:
    return case.label is None or case.label.path.suffix.lower() in (".jpg", ".jpeg")


def _structures(dataset: Dataset, looks: Sequence[Look]) -> tuple[dict[str, int], bool]:
    """The structures that the data set names, or else one for each value in its masks."""
    if dataset.labels is not None:
        return {label.name: label.value for label in dataset.labels.items}, True
    values = sorted({value for look in looks if look.mask is not None for value in look.mask.structures})
    return {"structure" if len(values) == 1 else f"structure {value}": value for value in values}, False
