"""Patients: are they told apart, are two names one patient, does the split work for every structure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..datasets.cases import Dataset, Split
from ..datasets.dataset import split_of
from ..errors import DataError
from ..support.texts import counted, listed
from .learnable import Marked, judge_learnable
from .problem import CaseProblem, alike

if TYPE_CHECKING:
    from ..workflow.workflow import Workflow
    from .record import Look

FEW = 3
"""Patients that a validation should have at least."""

_VISIT = re.compile(
    r"[-_. ](?:ses|session|visit|scan|tp|time|timepoint|v|t|rep|repeat|run|day|week|month|fu|followup|pre|post|"
    r"baseline|slice|slc|z|left|right|l|r|a|b|copy|new|old)?[-_]?\d{0,4}$"
)


def judge_patients(dataset: Dataset) -> Iterator[CaseProblem]:
    """Names of patients that may be one patient's; a layout that does not say who the patients are."""
    cases = dataset.cases
    own = [case for case in cases if case.patient == case.id]
    if len(cases) > 1 and len(own) == len(cases) and not dataset.names_patients:
        message = "nothing identifies the patients, so each case counts as a separate patient"
        yield CaseProblem("no-patients", "note", None, message)
    first = {case.patient: case.id for case in reversed(cases)}
    reported: set[str] = set()
    for group in map(sorted, alike(first, _plain)):
        reported.update(group)
        names = listed(first[patient] for patient in group)
        message = f"the patients of the cases {names} have names that differ only in case, zeros or marks: one patient?"
        yield CaseProblem("similar-patients", "warning", first[group[0]], message)
    stems = {patient: _VISIT.sub("", patient.casefold()) for patient in first}
    known = {patient.casefold() for patient in first}
    groups = [sorted(group) for group in alike(filter(stems.get, first), stems.__getitem__)]
    groups = [group for group in groups if not set(group) <= reported and re.search(r"\d", stems[group[0]])]
    for group in groups:
        stem = stems[group[0]]
        several = len(groups) > 1 and len(group) <= 6 and len(first) >= 1.2 * len(set(stems.values()))
        if stem not in known and not several:
            continue
        names = listed(first[patient] for patient in group)
        message = f"the patients of the cases {names} have names that differ only in their ending: one patient?"
        yield CaseProblem("similar-patients", "warning" if stem in known else "note", first[group[0]], message)


def _plain(name: str) -> str:
    """A name without case, marks and leading zeros of numbers; numbers stay apart."""
    parts = re.findall(r"\d+|[^\W\d_]+", name.casefold())
    return " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def find_split(dataset: Dataset, workflow: Workflow | None) -> tuple[Split | None, list[CaseProblem]]:
    """The split that training would make, and why not; labels are not missed where none is looked at."""
    if workflow is None:
        return None, list(judge_given_splits(dataset))
    labelled = [case for case in dataset.cases if case.label is not None]
    if len(labelled) < 2 and not workflow.supervised:
        return None, []
    if len(labelled) < 2:
        whole = counted(len(dataset.cases), "case")
        message = f"the label is there in {len(labelled)} of {whole}; training needs at least two"
        return None, [CaseProblem("few-labels", "error", None, message)]
    options = workflow.data.split
    divided = [] if options.by == "patient" else list(judge_given_splits(dataset))
    if divided:
        return None, divided
    try:
        return split_of(dataset, labelled, options), []
    except DataError as error:
        code, where = ("few-patients", "data.split: ") if options.by == "patient" else ("unusable-split", "")
        return None, [CaseProblem(code, "error", None, f"{where}{error}")]


def judge_given_splits(dataset: Dataset) -> Iterator[CaseProblem]:
    """Patients that the splits of a data set divide."""
    patients = {case.id: case.patient for case in dataset.cases}
    for fold, split in enumerate(dataset.splits):
        validating = {patients[name] for name in split.validation if name in patients}
        both = [name for name in split.train if patients.get(name) in validating]
        if both:
            message = f"split {fold} of the data set trains on {listed(both)}, whose patients validate as well"
            yield CaseProblem("patient-in-both", "error", None, message)


def judge_split(
    dataset: Dataset, looks: Sequence[Look], split: Split, spacing: Sequence[float] | None = None
) -> Iterator[CaseProblem]:
    """Is there enough in each part of the split, every structure in both, and none too small for the network.

    Args:
        spacing: Millimetres that the workflow gives the network's voxels.
    """
    patients = {case.id: case.patient for case in dataset.cases}
    held_out = len({patients[name] for name in split.validation})
    if held_out < FEW:
        message = f"{counted(held_out, 'patient')} would be held out: the scores will depend on which ones"
        yield CaseProblem("small-validation", "note", None, message)
    cases = {
        look.case.id: Marked(
            {value: structure.voxels for value, structure in look.mask.structures.items()}, look.spacing
        )
        for look in looks
        if look.mask is not None and look.spacing
    }
    yield from judge_learnable(dataset.labels, cases, split, spacing)
