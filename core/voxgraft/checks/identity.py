"""Text that may tell who a patient is: only where it stands is said, never what it says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..components.catalogue import Catalogue
from ..datasets.cases import Dataset
from ..imaging.formats import ReaderSpec, Trace, signs
from ..imaging.volume import Item
from ..support.texts import counted, listed
from .problem import CaseProblem

if TYPE_CHECKING:
    from .record import Look


def traces(item: Item, catalogue: Catalogue) -> set[Trace]:
    """Where the header of an image may tell who the patient is; nothing for headers that cannot be read."""
    spec = catalogue.get("reader", item.reader)
    if not isinstance(spec, ReaderSpec) or spec.traces is None:
        return set()
    try:
        return set(spec.traces(item.files[0] if item.files else item.path))
    except Exception:  # whatever a damaged header raises: the reader itself says what is wrong with the file
        return set()


def judge_identity(dataset: Dataset, looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Headers, pictures and file names that may tell who the patients are."""
    where = Counter(trace for look in looks for trace in look.traces)
    fields = [trace.place for trace in sorted(where) if trace.code == "names-in-header"]
    if fields:
        cases = sum(any(trace.code == "names-in-header" for trace in look.traces) for look in looks)
        message = f"the headers of {cases} of {counted(len(looks), 'case')} hold text in {listed(fields, 20)}"
        yield CaseProblem("names-in-header", "note", None, message)
    for trace, cases in sorted(where.items()):
        many = counted(cases, "case")
        if trace.code == "burned-in" and trace.kind == "YES":
            message = f"{many} say that text is burned into their pictures (BurnedInAnnotation)"
            yield CaseProblem("burned-in", "warning", None, message)
        elif trace.code == "burned-in":
            message = f"{many} are of modality {trace.kind}, where names are often drawn into the pixels"
            yield CaseProblem("burned-in", "note", None, message)
        elif trace.code == "text-in-header":
            first = next(look.case.id for look in looks if trace in look.traces)
            message = f"the header field {trace.place} of {many} holds what looks like {trace.kind}"
            yield CaseProblem("text-in-header", "note", first if cases == 1 else None, message)
    yield from _names(dataset)


def _names(dataset: Dataset) -> Iterator[CaseProblem]:
    paths = {ref.path.absolute() for case in dataset.cases for ref in case.references}
    if not paths:
        return
    root, many = Path(os.path.commonpath([path.parent for path in paths])), counted(len(paths), "path")
    kinds: Counter[str] = Counter()
    for path in paths:
        kinds.update({sign for part in path.relative_to(root).parts for sign in signs(part)})
    for kind, files in sorted(kinds.items()):
        message = f"{files} of {many} below the data set's folder hold what looks like {kind}"
        yield CaseProblem("telling-name", "note", None, message)
