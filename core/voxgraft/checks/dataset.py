"""What is wrong with a data set, before you spend hours training on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..components.catalogue import Catalogue
from ..datasets.cases import Dataset, Split
from ..support.progress import Progress
from ..support.texts import counted
from ..support.workers import in_threads
from .copies import judge_copies
from .guess import guess_dataset
from .identity import judge_identity
from .look import look_at
from .outliers import judge_grids, judge_intensities, judge_structures
from .patients import find_split, judge_patients, judge_split
from .problem import ORDER, CaseProblem, Severity, grouped
from .purpose import codes_of, judge_channels, judge_modality, judge_pretrained, judge_voxels
from .record import Look
from .resources import judge_resources, needs
from .sides import judge_mirroring, judge_sides
from .values import judge_values

if TYPE_CHECKING:
    from ..workflow.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Findings:
    """What the check of a data set found.

    Attributes:
        problems: The worst first.
        figures: What was measured on the way: `layout`, `patients`, `labelled`, `structures`, `room`, `seconds`.
    """

    cases: int
    problems: tuple[CaseProblem, ...]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[CaseProblem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def ok(self) -> bool:
        """Nothing that training would stop at, or that would make its figures false."""
        return not self.errors

    @property
    def verdict(self) -> str:
        """How many problems there are, and whether training may begin, in one line."""
        severities = [problem.severity for problem in self.problems]
        counts = ", ".join(counted(severities.count(name), name) for name in ("error", "warning"))
        notes = severities.count("note")
        end = "ready" if self.ok and "warning" not in severities else "ready, but look at the warnings"
        end = end if self.ok else "not ready: fix the errors first"
        more = f", {counted(notes, 'note')}" if notes else ""
        return f"{counted(self.cases, 'case')}, {counts}{more}; {end}"

    def __repr__(self) -> str:
        return f"Findings: {self.verdict}"

    def document(self) -> dict[str, Any]:
        """Plain values, as `voxgraft check --json` prints them and a run keeps them."""
        rows = [{**asdict(problem), "fix": problem.fix} for problem in self.problems]
        return {"ok": self.ok, "cases": self.cases, "problems": rows, **self.figures}

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, and what is wrong, the worst first."""
        from ..reports.notebook import Table, fragment

        rows = [(one.severity, cases, one.message, one.fix or "", one.code) for one, cases in grouped(self.problems)]
        heads = ("Severity", "Case", "Problem", "What to do", "Code")
        return fragment(self.verdict, (), [Table.of(heads, rows)] if rows else [])


def check_dataset(
    dataset: Dataset,
    catalogue: Catalogue,
    workflow: Workflow | None = None,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> Findings:
    """Read every case and say all that is wrong; a bad case does not keep the others from being looked at.

    Args:
        workflow: What the data set is to be used for; without it only the data set itself is judged.
        folder: Where the run will be; by default the working directory.
    """
    begun = time.monotonic()
    work = partial(look_at, catalogue=catalogue, labels=dataset.labels)
    title = f"checking {counted(len(dataset.cases), 'case')}"
    looks = in_threads(work, dataset.cases, progress or Progress(quiet=True), title)
    split, problems = find_split(dataset, workflow)
    needed = needs(looks, workflow, folder)
    problems += _judge(dataset, looks, workflow, split)
    problems += judge_resources(needed, workflow)
    for look in looks:
        problems += look.problems
        problems += judge_voxels(look, codes_of(workflow), dataset.channels)
    order = {case.id: index for index, case in enumerate(dataset.cases)}
    problems.sort(key=lambda one: (ORDER[one.severity], one.case is not None, one.code, order.get(one.case or "", 0)))
    figures = {
        "patients": len({case.patient for case in dataset.cases}),
        "labelled": sum(case.label is not None for case in dataset.cases),
        "structures": structures(dataset, looks),
        "room": needed,
        "seconds": round(time.monotonic() - begun, 3),
    }
    return Findings(len(dataset.cases), tuple(problems), figures)


def check_path(path: Path, catalogue: Catalogue, progress: Progress | None = None) -> tuple[Dataset, Findings]:
    """Find out how a folder is laid out, and check it.

    Args:
        path: A folder or file of any layout that a plugin knows, or of scans alone.
    """
    layout, dataset = guess_dataset(path, catalogue)
    findings = check_dataset(dataset, catalogue, progress=progress)
    return dataset, replace(findings, figures={"layout": layout.name if layout else None, **findings.figures})


def structures(dataset: Dataset, looks: Sequence[Look]) -> list[dict[str, Any]]:
    """For each structure the masks that hold it, and its share of the voxels of all masks."""
    masks = [look.mask for look in looks if look.mask is not None]
    names = {label.value: label.name for label in dataset.labels.items} if dataset.labels else {}
    values = sorted({*names, *(value for mask in masks for value in mask.structures)})
    size = max(1, sum(mask.size for mask in masks))
    rows = []
    for value in values:
        voxels = [mask.structures[value].voxels for mask in masks if value in mask.structures]
        share = float(f"{sum(voxels) / size:.4g}")
        rows.append({"value": value, "name": names.get(value), "masks": len(voxels), "share": share})
    return rows


def _judge(
    dataset: Dataset, looks: Sequence[Look], workflow: Workflow | None, split: Split | None
) -> Iterator[CaseProblem]:
    """What shows only when all cases are seen together."""
    for note in dataset.notes:
        yield CaseProblem("note", "note", None, note)
    for problem in dataset.problems:
        yield CaseProblem(problem.code, problem.severity, None, problem.message)
    yield from _missing(looks, workflow)
    yield from judge_values(dataset, looks)
    yield from judge_channels(dataset, looks, workflow)
    yield from judge_grids(looks)
    yield from judge_intensities(looks)
    yield from judge_structures(dataset, looks)
    yield from judge_sides(dataset, looks)
    yield from judge_copies(looks, split)
    yield from judge_patients(dataset)
    yield from judge_identity(dataset, looks)
    if workflow is not None:
        yield from judge_modality(dataset, looks, workflow)
        yield from judge_pretrained(workflow)
        yield from judge_mirroring(dataset.labels, workflow)
    if split is not None:
        yield from judge_split(dataset, looks, split, workflow.data.spacing if workflow is not None else None)


def _missing(looks: Sequence[Look], workflow: Workflow | None) -> Iterator[CaseProblem]:
    """Images without a label: kept on purpose where a workflow's layout lets them through, forgotten otherwise."""
    missing = [look.case.id for look in looks if look.case.label is None]
    if len(missing) == len(looks):
        if workflow is None:
            yield CaseProblem("no-labels", "note", None, "no case has a label: the images alone were checked")
        return
    for name in missing:
        severity: Severity = "error" if workflow is None else "warning"
        yield CaseProblem("missing-label", severity, name, "the image has no label")
