"""From a workflow to its data set: the layout's cases, the workflow's labels, and what must hold for any data set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from ..components.catalogue import Catalogue
from ..components.choice import Selected
from ..errors import BrokenPlugin, DataError, VoxGraftError
from ..imaging.formats import ReadsImages
from ..imaging.read import find
from ..imaging.volume import FoundRegion, MaskRef
from ..labels.valid_region import FindsRegion
from ..support.texts import composed, counted
from .cases import Case, Dataset, Layout, ReadsFolder, Split
from .labelling import labels_of
from .options import Data
from .options import Split as SplitOptions
from .split import draw_labelled, split_by_patient


def find_dataset(data: Data, catalogue: Catalogue, *, supervised: bool = True, channels: Sequence[str] = ()) -> Dataset:
    """The cases that the section `data` of a workflow names, with what it says of labels, raters and channels.

    Args:
        supervised: The network learns from labels.
        channels: Those that one file of the modality may hold; empty where it says none.
        catalogue: For layouts that read images; the workflow's options of readers are put into it.

    Raises:
        DataError: The folder is not there or has another layout, holds no case, or its cases do not fit together.
    """
    readers = catalogue.with_options("reader", data.reader_options)
    dataset = leave_out(read_layout(data.layout, readers), data.leave_out)
    dataset = replace(dataset, channels=_channels_of(dataset, channels, readers))
    said = "the layout has files that say" if dataset.bounded else "the modality finds"
    if isinstance(data.modality.build(), FindsRegion):
        dataset = replace(dataset, cases=tuple(with_region(case, data.modality) for case in dataset.cases))
    labels = labels_of(data, dataset.labels, dataset.bounded)
    if labels is None and dataset.bounded and supervised:
        raise DataError(f"data.labels: name the structures; {said} where cases count")
    dataset = replace(dataset, labels=labels, optional=_optional_of(data, dataset))
    return replace(dataset, cases=tuple(with_rater(case, data.raters) for case in dataset.cases))


def with_region(case: Case, modality: Selected[Any]) -> Case:
    """The case with where it counts found by its modality, where it has a mask and no file says so."""
    if case.valid is not None or not (case.label or case.raters):
        return case
    found = FoundRegion(case.present[0].path, case.present[0].series, modality=json.dumps(modality.document()))
    return replace(case, valid=found)


def _channels_of(dataset: Dataset, usual: Sequence[str], readers: Catalogue) -> tuple[str, ...]:
    """The names of channels: the layout's, or those of the modality where the first image that can be read has them."""
    if dataset.channels != Dataset(()).channels or not usual:
        return dataset.channels
    for case in dataset.cases:
        try:
            items = [item for item in find(case.present[0], readers) if item.kind == "image" and not item.errors]
        except VoxGraftError:  # it is named when it is read
            continue
        if items:
            return tuple(usual) if items[0].channels == len(usual) else dataset.channels
    return dataset.channels


def leave_out(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set without some of its cases.

    Raises:
        DataError: There is no case of one of the names, or no case would be left.
    """
    names, existing = [composed(name) for name in names], {composed(case.id) for case in dataset.cases}
    for name in names:
        if name not in existing:
            near = get_close_matches(name, existing, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see check"
            raise DataError(f"data.leave_out: there is no case {name!r}; {hint}")
    left = tuple(case for case in dataset.cases if composed(case.id) not in set(names))
    if not left:
        raise DataError("data.leave_out: no case would be left")
    return replace(dataset, cases=left)


def with_rater(case: Case, rater: str | None) -> Case:
    """The case with the mask of one rater, or with those of all brought together.

    Raises:
        DataError: There are several raters and none is chosen, or the one that is chosen is not there.
    """
    if not case.raters:
        return case
    names = ", ".join(sorted(case.raters))
    if rater is None:
        if len(case.raters) == 1:
            return replace(case, label=next(iter(case.raters.values())))
        raise DataError(
            f"case {case.id!r} has masks of several raters ({names}): set data.raters: majority, staple or one of them"
        )
    if rater in case.raters:
        return replace(case, label=case.raters[rater])
    if rater not in ("majority", "staple"):
        raise DataError(f"case {case.id!r} has no mask of the rater {rater!r} that data.raters names; it has {names}")
    parts = tuple(sorted(case.raters.items()))
    if len(parts) == 1:
        return replace(case, label=parts[0][1])
    rule: Literal["majority", "staple"] = "majority" if rater == "majority" else "staple"
    return replace(case, label=MaskRef(parts[0][1].path.parent, named=parts, rule=rule))


def split_of(dataset: Dataset, labelled: Sequence[Case], options: SplitOptions) -> Split:
    """Which labelled cases are for training and which for validation; no patient is in both.

    Where the options stand for all folds or repeats, this is the first one.

    Args:
        dataset: May give splits of its own.
        options: The workflow's section `data.split`.

    Raises:
        DataError: There are too few patients, or the data set gives no such split or one that divides a patient.
    """
    fold, repeat = (0 if number == "all" else number for number in (options.fold, options.repeat))
    if options.by == "patient":
        split = split_by_patient(labelled, options.folds, fold, options.seed)
    else:
        split = _given(dataset, labelled, fold)
    return split if options.labelled is None else draw_labelled(split, labelled, options.labelled, repeat, options.seed)


def _given(dataset: Dataset, labelled: Sequence[Case], fold: int) -> Split:
    """The split that comes with the data set."""
    if not dataset.splits:
        raise DataError("data.split: the data set gives no split; set by: patient")
    if fold >= len(dataset.splits):
        raise DataError(f"data.split.fold: the data set gives {len(dataset.splits)} splits, counted from 0")
    given = dataset.splits[fold]
    patients = {case.id: case.patient for case in labelled}
    split = Split(*(tuple(name for name in part if name in patients) for part in (given.train, given.validation)))
    if not split.train or not split.validation:
        raise DataError("data.split: the split of the data set leaves no labelled case for training or for validation")
    both = {patients[name] for name in split.train} & {patients[name] for name in split.validation}
    if both:
        raise DataError(
            f"data.split: the split of the data set has {counted(len(both), 'patient')} both in training and in "
            "validation; scores would be too good; set by: patient"
        )
    return split


def _optional_of(data: Data, dataset: Dataset) -> tuple[str, ...]:
    """The channels that a case may lack, by workflow and layout."""
    for name in data.channels or {}:
        if name not in dataset.channels:
            raise DataError(f"data.channels: there is no channel {name!r}; there are {', '.join(dataset.channels)}")
    needs = {**dict.fromkeys(dataset.optional, "optional"), **(data.channels or {})}
    optional = tuple(name for name in dataset.channels if needs.get(name) == "optional")
    if len(optional) == len(dataset.channels):
        raise DataError("data.channels: every channel is optional; at least one must be required")
    for index, name in enumerate(dataset.channels):
        without = [case.id for case in dataset.cases if len(case.images) > 1 and case.images[index] is None]
        if without and name not in optional:
            raise DataError(
                f"the channel {name!r} is missing in {counted(len(without), 'case')}, {without[0]!r} for example; "
                f"add the files, or say data.channels: {{{name}: optional}}"
            )
    return optional


def read_layout(layout: Selected[Layout], catalogue: Catalogue) -> Dataset:
    """The cases that a layout finds, after a look at whether they can be cases of one data set.

    Args:
        catalogue: For layouts that read images themselves.
    """
    _complain_of_missing_folder(layout)
    reader = layout.build()
    try:
        if isinstance(reader, ReadsImages):
            reader.use_readers(catalogue)
        dataset = reader.read()
    except VoxGraftError:
        raise
    except OSError as error:
        raise DataError(f"{error.filename or 'data.layout'}: cannot be read: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:
        raise BrokenPlugin(layout.plugin, f"reading the layout {layout.name!r}", error) from error
    cases = tuple(replace(case, patient=composed(case.patient)) for case in dataset.cases)
    _complain_of_cases(dataset, layout.name)
    return replace(dataset, cases=cases)


def _complain_of_missing_folder(layout: Selected[Layout]) -> None:
    """Options called `path` are folders or tables, in every layout that has such an option."""
    path = layout.options.path if isinstance(layout.options, ReadsFolder) else None
    if path is None or path.exists():
        return
    what = "file" if path.suffix.lower() in (".csv", ".tsv", ".txt") else "folder"
    if path.is_absolute():
        raise DataError(f"data.layout.path: there is no {what} {path}")
    nearest = next((parent for parent in path.parents if parent.exists()), Path())
    looked = "the working directory" if nearest == Path() else repr(nearest.as_posix())
    first = path.relative_to(nearest).parts[0]
    raise DataError(
        f"data.layout.path: there is no {what} {path.as_posix()!r}; {looked} has no {first!r} "
        f"(relative paths start at the working directory, now {Path.cwd().name!r})"
    )


def _complain_of_cases(dataset: Dataset, layout: str) -> None:
    if not dataset.cases:
        raise DataError(f"the layout {layout!r} found no cases; look at its options")
    twice = [name for name, often in Counter(case.id for case in dataset.cases).items() if often > 1]
    if twice:
        raise DataError(f"{len(twice)} case ids stand for several cases, {twice[0]!r} for example; ids must be unique")
    for case in dataset.cases:
        if not case.id or case.id.startswith(".") or set(case.id) & set('/\\:*?"<>|\0'):
            raise DataError(f"the layout {layout!r} gave a case the id {case.id!r}, which cannot name a folder")
    counts = {len(case.images): case.id for case in dataset.cases}
    if len(counts) > 1:
        (few, few_case), (many, other) = sorted(counts.items())[:2]
        raise DataError(
            f"case {few_case!r} has {few} image files and case {other!r} has {many}; all cases need the same"
        )
    if bare := next((case.id for case in dataset.cases if not case.present), None):
        raise DataError(f"case {bare!r} has no image at all")
    files = next(iter(counts))
    if files not in (1, len(dataset.channels)):
        raise DataError(f"the cases have {files} image files each for {len(dataset.channels)} channels")
