"""What a folder of scans holds, as far as a workflow file must know it: layout, modality, axes, structures, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..checks.guess import guess_dataset
from ..checks.look import look_at
from ..checks.purpose import NAMES
from ..checks.record import Look
from ..components.catalogue import Catalogue
from ..components.choice import Selected, choose
from ..datasets.cases import Dataset, Layout
from ..datasets.dataset import read_layout
from ..errors import DataError
from ..preprocessing.modality import ModalitySpec, like_hounsfield, modality_for
from ..support.progress import Progress
from ..support.workers import in_threads

COLOURS = 3
"""Channels of a colour photograph."""


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
        unreadable: Cases that could not be read.
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
    unreadable: int

    @property
    def labelled(self) -> int:
        """Cases with a mask."""
        return sum(case.label is not None for case in self.dataset.cases)

    @property
    def patients(self) -> int:
        """Patients of the cases with a mask, or of all where none has one."""
        cases = self.dataset.cases
        return len({case.patient for case in cases if case.label is not None or not self.labelled})


def survey(folder: Path, catalogue: Catalogue, progress: Progress | None = None) -> Survey:
    """Find the layout of a folder and read every case of it once.

    Args:
        folder: A data set of any layout that a plugin knows, or a tree of images.
        catalogue: Offers layouts, readers and modalities.
        progress: Shows how many cases have been read.

    Raises:
        UsageError: There is no such folder.
        DataError: It holds no image that can be read, or its layout is broken.
    """
    layout, dataset = guess_dataset(folder, catalogue)
    work = partial(look_at, catalogue=catalogue, labels=dataset.labels)
    title = f"reading {len(dataset.cases)} cases"
    looks = in_threads(work, dataset.cases, progress or Progress(quiet=True), title)
    if layout is not None and layout.name == "dicom":
        layout, dataset, looks = _of_one_modality(layout, dataset, looks, catalogue)
    read = [look for look in looks if look.shape]
    if not read:
        first = next((problem.message for look in looks for problem in look.problems), "it holds no image")
        raise DataError(f"{folder}: none of its {len(looks)} cases can be read: {first}")
    axes = Counter(len(look.shape) for look in read).most_common(1)[0][0]
    alike = [look for look in read if len(look.shape) == axes]
    modality, reason = _modality(dataset, alike, axes, catalogue)
    structures, named = _structures(dataset, looks)
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
        named=named,
        unreadable=len(looks) - len(read),
    )


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


def _modality(dataset: Dataset, looks: Sequence[Look], axes: int, catalogue: Catalogue) -> tuple[str, str]:
    """By what the files say, then by the names of channels, then by the numbers themselves."""
    specs: list[Any] = [spec for _, spec in catalogue.of("modality") if isinstance(spec, ModalitySpec)]
    by_code = {code: modality_for(code, specs) or "" for spec in specs for code in spec.dicom}
    codes = Counter(look.modality for look in looks if look.modality in by_code)
    if codes:
        code = codes.most_common(1)[0][0]
        return by_code[code], f"the files say {code}"
    for name in dataset.channels:
        code = NAMES.get(name.casefold().replace(" ", ""), name.upper())
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
    return "mr", "nothing in the files says it, and the voxels are not Hounsfield units: correct it if it is wrong"


def _structures(dataset: Dataset, looks: Sequence[Look]) -> tuple[dict[str, int], bool]:
    """The structures that the data set names, or else one for each value in its masks."""
    if dataset.labels is not None:
        return {label.name: label.value for label in dataset.labels.items}, True
    values = sorted({value for look in looks for value in _values(look)})
    return {"structure" if len(values) == 1 else f"structure {value}": value for value in values}, False


def _values(look: Look) -> Iterator[int]:
    return (value for value in look.mask.structures) if look.mask is not None else iter(())
