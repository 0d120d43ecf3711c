"""What is wrong with a data set, before any hour is spent on it."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..discovery import Catalogue
from ..errors import DataError, UsageError
from ..progress import Progress
from ..reading import scan
from ..runs.threads import in_threads
from ..slot import choose
from .case_check import CaseProblem, Look, Severity, look_at, some
from .cases import Case, Dataset, ImageRef, split_by_patient
from .dataset import read_layout

if TYPE_CHECKING:
    from ..volume import Item
    from ..workflow import Workflow

ODD_SPACING = 3.0
"""By how many times the spacing of a case may differ from the median."""

COPIES = 6
"""Copies of an image in float32 that preparing and predicting it hold at once, at most."""


def check_dataset(
    dataset: Dataset, catalogue: Catalogue, workflow: Workflow | None = None, progress: Progress | None = None
) -> list[CaseProblem]:
    """Read every case and say all that is wrong; a bad case does not keep the others from being looked at.

    Problems of severity `error` are those that training would stop at, or that would make its figures false.

    Args:
        workflow: What the data set is to be used for; without it only the data set itself is judged.
    """
    progress = progress or Progress(quiet=True)
    what = f"checking {len(dataset.cases)} cases"
    looks = in_threads(partial(look_at, catalogue=catalogue), dataset.cases, progress, what)
    problems = [CaseProblem("note", "note", None, note) for note in dataset.notes]
    problems += [CaseProblem(one.code, one.severity, None, one.message) for one in dataset.problems]
    problems += _missing(looks, workflow)
    problems += _labels(dataset, looks)
    problems += _channels(dataset, looks, workflow)
    problems += _grids(looks)
    problems += _copies(looks)
    if workflow is not None:
        problems += _purpose(dataset, looks, workflow)
    problems += _room(looks, workflow)
    for look in looks:
        problems += look.problems
    order = {"error": 0, "warning": 1, "repair": 2, "note": 3}
    return sorted(problems, key=lambda problem: order[problem.severity])


def check_path(path: Path, catalogue: Catalogue, progress: Progress | None = None) -> tuple[Dataset, list[CaseProblem]]:
    """Find out how a folder is laid out, and check it.

    Raises:
        UsageError: There is no such folder.
        DataError: It holds nothing that can be read, or its layout is broken.
    """
    dataset = dataset_in(path, catalogue)
    return dataset, check_dataset(dataset, catalogue, progress=progress)


def dataset_in(path: Path, catalogue: Catalogue) -> Dataset:
    """The data set in a folder whose layout nobody named: dataset.json, images beside labels, or any tree of images.

    Raises:
        UsageError: There is no such folder.
        DataError: It holds nothing that can be read, or its layout is broken.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: there is no such folder")
    if (path / "dataset.json").exists():
        return read_layout(choose(catalogue, "layout", {"use": "decathlon", "path": path}))
    for images, labels in (("images", "labels"), ("imagesTr", "labelsTr")):
        if (path / images).is_dir() and (path / labels).is_dir():
            options = {"path": path, "images": images, "labels": labels, "unlabelled": "keep"}
            return read_layout(choose(catalogue, "layout", {"use": "pairs", **options}))
    return _loose(path, scan(path, catalogue))


def _loose(path: Path, items: Sequence[Item]) -> Dataset:
    """Each image of a tree as a case; series are named by a hash, for their folders may hold patients' names."""
    cases, taken = [], Counter[str]()
    for item in items:
        place = item.path.relative_to(path).as_posix() if item.path.is_relative_to(path) else item.path.name
        name = place.replace("/", "-")
        if item.series is not None:
            name = f"{(item.modality or 'image').lower()}-{_hash(f'{place} {item.series}')}"
        taken[name] += 1
        name = name if taken[name] == 1 else f"{name}-{taken[name]}"
        patient = _hash(item.patient) if item.patient else name
        cases.append(Case(name, patient, (ImageRef(item.path, item.series),)))
    return Dataset(tuple(cases))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:10]


def _missing(looks: Sequence[Look], workflow: Workflow | None) -> Iterable[CaseProblem]:
    """Images without a label: kept on purpose where a workflow's layout lets them through, forgotten otherwise."""
    missing = [look.case.id for look in looks if look.case.label is None]
    if len(missing) == len(looks):
        if workflow is None:
            yield CaseProblem("no-labels", "note", None, "no case has a label: the images alone were checked")
        return
    for name in missing:
        severity: Severity = "error" if workflow is None else "warning"
        yield CaseProblem("missing-label", severity, name, "the image has no label")


def _labels(dataset: Dataset, looks: Sequence[Look]) -> Iterable[CaseProblem]:
    readable = [look for look in looks if look.values is not None]
    found: set[int] = set().union(*(look.values or () for look in readable)) - {0}
    if readable and not found:
        yield CaseProblem("no-foreground", "error", None, "every label is empty: there is nothing to learn")
    if dataset.labels is None:
        return
    for look in readable:
        strange = (look.values or frozenset()) - {0, *dataset.labels.values}
        if strange:
            mend = "name them under data.labels, or mend the file"
            message = f"the label holds {some(strange)}, which no name stands for; {mend}"
            yield CaseProblem("unnamed-label", "error", look.case.id, message)
    for label in dataset.labels.items if readable else ():
        if label.value not in found:
            message = f"the structure {label.name!r} (value {label.value}) is in no label"
            yield CaseProblem("absent-label", "warning", None, message)


def _channels(dataset: Dataset, looks: Sequence[Look], workflow: Workflow | None) -> Iterable[CaseProblem]:
    """Against the names of channels where a workflow gives them, else against what most images have."""
    read = [look for look in looks if look.channels]
    if not read:
        return
    usual = Counter(look.channels for look in read).most_common(1)[0][0]
    expected, where = (len(dataset.channels), "the data set names") if workflow else (usual, "most images have")
    for look in read:
        if look.channels != expected:
            message = f"the image has {look.channels} channels, and {where} {expected}"
            yield CaseProblem("channel-count", "error", look.case.id, message)


def _grids(looks: Sequence[Look]) -> Iterable[CaseProblem]:
    read = [look for look in looks if look.shape]
    axes = Counter(len(look.shape) for look in read)
    if len(axes) > 1:
        message = f"{axes[2]} images have two axes and {axes[3]} have three; train on one kind at a time"
        yield CaseProblem("mixed-dimensions", "error", None, message)
        return
    if len(read) < 3:
        return
    median = np.median([look.spacing for look in read], axis=0)
    for look in read:
        ratio = np.asarray(look.spacing) / median
        if max(ratio.max(), 1 / ratio.min()) > ODD_SPACING:
            message = f"the spacing {_times(look.spacing)} mm is far from the median {_times(median)} mm; is it right?"
            yield CaseProblem("odd-spacing", "warning", look.case.id, message)


def _copies(looks: Sequence[Look]) -> Iterable[CaseProblem]:
    groups: dict[str, list[Case]] = {}
    for look in looks:
        if look.content:
            groups.setdefault(look.content, []).append(look.case)
    for same in groups.values():
        if len(same) < 2:
            continue
        names = ", ".join(case.id for case in same[:5]) + (", ..." if len(same) > 5 else "")
        message = f"{len(same)} cases hold the same image: {names}"
        if len({case.patient for case in same}) > 1:
            mend = "as different patients, so that training and validation may share it; remove all but one"
            yield CaseProblem("same-image", "error", same[0].id, f"{message}, {mend}")
        else:
            yield CaseProblem("same-image", "warning", same[0].id, message)


def _purpose(dataset: Dataset, looks: Sequence[Look], workflow: Workflow) -> Iterable[CaseProblem]:
    """Does the data set serve the workflow: axes, modality, enough patients for the split."""
    if workflow.model.dims == 3 and any(len(look.shape) == 2 for look in looks):
        yield CaseProblem("dims", "error", None, "the images have two axes: set model.dims to 2")
    codes = getattr(workflow.data.modality.component, "dicom", ())
    for look in looks:
        if codes and look.modality is not None and look.modality not in codes:
            message = f"the image is of modality {look.modality}, the workflow is for {workflow.data.modality.name!r}"
            yield CaseProblem("other-modality", "warning", look.case.id, message)
    labelled = [case for case in dataset.cases if case.label is not None]
    if len(labelled) < 2:
        message = f"{len(labelled)} of {len(dataset.cases)} cases have a label; training needs at least two"
        yield CaseProblem("few-labels", "error", None, message)
        return
    split = workflow.data.split
    try:
        split_by_patient(labelled, split.folds, split.fold, split.seed)
    except DataError as error:
        yield CaseProblem("few-patients", "error", None, f"data.split: {error}")


def _room(looks: Sequence[Look], workflow: Workflow | None) -> Iterable[CaseProblem]:
    """Is there disk for the prepared arrays, and memory for the largest image."""
    read = [look for look in looks if look.shape]
    if not read:
        return
    import psutil

    sizes = [float(np.prod(look.shape)) * max(1, look.channels) * 4 for look in read]
    if workflow is not None:
        axes = min(len(look.shape) for look in read)
        target = workflow.data.spacing or np.median([look.spacing[:axes] for look in read], axis=0)
        steps = [np.prod(np.asarray(look.spacing[: len(target)]) / target[: len(look.spacing)]) for look in read]
        need = 1.25 * float(sum(size * step for size, step in zip(sizes, steps, strict=True)))
        folder = (workflow.data.cache or Path()).absolute()
        free = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free
        if need > free:
            message = f"prepared arrays will take about {_gigabytes(need)}, and {_gigabytes(free)} of the disk are free"
            yield CaseProblem("little-disk", "warning", None, message)
    largest = int(np.argmax(sizes))
    memory, there = sizes[largest] * COPIES, psutil.virtual_memory().available
    if memory > there:
        message = f"working on it will take about {_gigabytes(memory)} of memory, and {_gigabytes(there)} are free"
        yield CaseProblem("little-memory", "warning", read[largest].case.id, message)


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"


def _times(spacing: Iterable[float]) -> str:
    return "x".join(f"{step:.3g}" for step in spacing)
