"""From a folder whose layout nobody named to its data set."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..components.catalogue import Catalogue
from ..components.choice import Selected, choose
from ..datasets.cases import Case, Dataset, Layout, LayoutSpec
from ..datasets.dataset import read_layout, with_rater
from ..errors import BrokenPlugin, DataError, UsageError
from ..imaging.formats import unopened_in, unopened_problems
from ..imaging.read import scan
from ..imaging.volume import ImageRef, Item


def guess_dataset(path: Path, catalogue: Catalogue) -> tuple[Selected[Layout] | None, Dataset]:
    """The layout that a folder looks like, by the word of the installed layouts, and its cases.

    Where none knows it, each image of the tree is a case without a label, and there is no layout.

    Raises:
        UsageError: There is no such folder.
        DataError: It holds nothing that can be read, or its layout is broken.
    """
    if not path.is_dir():
        why = "is a file; name the folder it lies in" if path.exists() else "there is no such folder"
        raise UsageError(f"{path}: {why}")
    fitting = list(_fitting(path, catalogue))
    failure: DataError | None = None
    for chosen in fitting:
        try:
            dataset = read_layout(chosen, catalogue)
        except DataError as error:
            failure = failure or error
            continue
        others = [other.name for other in fitting if other is not chosen]
        if others:
            note = f"read as {chosen.name!r}; the folder also looks like {', '.join(map(repr, others))}"
            dataset = replace(dataset, notes=(*dataset.notes, note))
        return chosen, _with_masks(dataset)
    if failure is not None:
        raise failure
    dataset = single_images(path, scan(path, catalogue))
    return None, replace(dataset, problems=unopened_problems(unopened_in(path, catalogue)))


def _with_masks(dataset: Dataset) -> Dataset:
    """Where several people drew masks and nobody says whose are meant, what most of them say."""
    several = sum(len(case.raters) > 1 for case in dataset.cases)
    cases = tuple(with_rater(case, None if len(case.raters) == 1 else "majority") for case in dataset.cases)
    note = f"{several} cases have masks of several raters, combined by majority for this check"
    return replace(dataset, cases=cases, notes=(*dataset.notes, *([note] if several else [])))


def _fitting(path: Path, catalogue: Catalogue) -> Iterator[Selected[Layout]]:
    """The layouts that know the folder as one of theirs, those that others offer too left out."""
    specs = [spec for _, spec in catalogue.of("layout") if isinstance(spec, LayoutSpec)]
    often = Counter(spec.name for spec in specs)
    for spec in specs:
        if spec.guess is None or often[spec.name] > 1:
            continue
        plugin = catalogue.origin(spec).plugin
        try:
            options: Mapping[str, Any] | None = spec.guess(path)
        except OSError as error:
            raise DataError(f"{error.filename or path}: it cannot be read: {error.strerror or error}") from error
        except Exception as error:
            raise BrokenPlugin(plugin, f"checking whether {path} has the layout {spec.name!r}", error) from error
        if options is None:
            continue
        try:
            yield choose(catalogue, "layout", {"use": spec.name, **options})
        except ValidationError as error:
            raise BrokenPlugin(plugin, f"guessing the options of the layout {spec.name!r}", error) from error


def single_images(path: Path, items: Sequence[Item]) -> Dataset:
    """Each image of a tree as a case; series are named by a hash, for their folders may hold patients' names."""
    cases, taken = [], Counter[str]()
    for item in items:
        if item.kind != "image" and any(other.kind == "image" for other in items):
            continue
        shown = item.path.relative_to(path).as_posix() if item.path.is_relative_to(path) else item.path.name
        name = shown.replace("/", "-")
        if item.series is not None:
            name = f"{(item.modality or 'image').lower()}-{_hash(f'{shown} {item.series}')}"
        taken[name] += 1
        name = name if taken[name] == 1 else f"{name}-{taken[name]}"
        patient = _hash(item.patient) if item.patient else name
        image = ImageRef(item.path, item.series, () if item.errors else item.files)
        cases.append(Case(name, patient, (image,), described=(item.description,) if item.description else ()))
    return Dataset(tuple(cases), names_patients=any(item.patient for item in items))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:10]
