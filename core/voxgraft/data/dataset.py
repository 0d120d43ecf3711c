"""From a workflow to its data set: the layout's cases, the workflow's labels, and what must hold for any data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ..errors import BrokenPlugin, DataError, VoxGraftError
from ..interfaces import Layout
from ..slot import Chosen
from ..workflow import Workflow
from .cases import Dataset, Label, Labels


def find_dataset(workflow: Workflow) -> Dataset:
    """The cases that a workflow names, with its names of labels.

    Raises:
        DataError: The folder is not there or has another layout, holds no case, or its cases do not fit together.
    """
    dataset = read_layout(workflow.data.layout)
    if workflow.data.labels is not None:
        dataset = replace(dataset, labels=_renamed(Labels.of(workflow.data.labels), dataset.labels))
    return dataset


def read_layout(layout: Chosen[Layout]) -> Dataset:
    """The cases that a layout finds, after a look at whether they can be cases of one data set.

    Raises:
        DataError: See `find_dataset`.
    """
    _complain_of_missing_folder(layout)
    reader = layout.build()
    try:
        dataset = reader.read()
    except VoxGraftError:
        raise
    except OSError as error:
        raise DataError(f"{error.filename or 'data.layout'}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise BrokenPlugin(layout.plugin, f"reading the layout {layout.name!r}", error) from error
    _complain_of_cases(dataset, layout.name)
    return dataset


def _renamed(wanted: Labels, known: Labels | None) -> Labels:
    """The workflow's labels, with the coded terms of the layout's where names agree."""
    codes = {label.name: label.code for label in known.items} if known else {}
    return Labels(tuple(Label(label.value, label.name, codes.get(label.name)) for label in wanted.items))


def _complain_of_missing_folder(layout: Chosen[Layout]) -> None:
    """Options called `path` are folders, in every layout that has such an option."""
    path = getattr(layout.options, "path", None)
    if not isinstance(path, Path) or path.exists():
        return
    if path.is_absolute():
        raise DataError(f"data.layout.path: there is no folder {path}")
    there = next((parent for parent in path.parents if parent.exists()), Path())
    looked = "the working directory" if there == Path() else repr(there.as_posix())
    first = path.relative_to(there).parts[0]
    raise DataError(
        f"data.layout.path: there is no folder {path.as_posix()!r}; {looked} has no {first!r} "
        f"(relative paths start at the working directory, now {Path.cwd().name!r})"
    )


def _complain_of_cases(dataset: Dataset, layout: str) -> None:
    if not dataset.cases:
        raise DataError(f"the layout {layout!r} found no cases; look at its options")
    twice = [name for name, often in Counter(case.id for case in dataset.cases).items() if often > 1]
    if twice:
        raise DataError(f"{len(twice)} case ids stand for several cases, {twice[0]!r} for one; ids must be unique")
    for case in dataset.cases:
        if not case.id or case.id.startswith(".") or set(case.id) & set('/\\:*?"<>|\0'):
            raise DataError(f"the layout {layout!r} gave a case the id {case.id!r}, which cannot name a folder")
    counts = {len(case.images): case.id for case in dataset.cases}
    if len(counts) > 1:
        (few, one), (many, other) = sorted(counts.items())[:2]
        raise DataError(f"case {one!r} has {few} image files and case {other!r} has {many}; all cases need the same")
    files = next(iter(counts))
    if files not in (1, len(dataset.channels)):
        raise DataError(f"the cases have {files} image files each for {len(dataset.channels)} channels")
