"""`voxgraft check`: what is wrong with a workflow and its data, or with a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks.dataset import Findings, check_dataset, check_path
from ..checks.patients import find_split
from ..checks.problem import CaseProblem
from ..datasets.cases import is_traced, write_trace
from ..datasets.companions import assign_roles, read_companions
from ..datasets.dataset import find_dataset
from ..errors import DataError, ModelError, TrackingError, TrainingError, UsageError
from ..packages.references import Resolver
from ..support.progress import Progress
from ..workflow.requirements import channels_of, check_start, check_transfer, roles_of
from ..workflow.workflow import read
from .steps.plan import limited

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..datasets.cases import Dataset
    from ..workflow.workflow import Workflow


def check_target(target: Path, overrides: Sequence[str], catalogue: Catalogue, progress: Progress) -> Findings:
    """Judge a workflow with its data, or a folder.

    Args:
        target: A workflow file, or a folder of any layout that a plugin knows, or of scans alone.
        overrides: Changed values of the workflow, such as `training.budget=5 min`.
        catalogue: Offers layouts and readers.
        progress: Shows how far it is.

    Raises:
        DataError: The data set's layout cannot be read.
        UsageError: There is neither a folder nor a workflow file, or the workflow does not fit.
    """
    if target.is_dir() and overrides:
        raise UsageError("--set changes a workflow; a folder has nothing to be changed")
    if not target.exists():
        raise UsageError(f"{target}: there is no such workflow file or folder")
    if target.is_dir():
        dataset, findings = check_path(target, catalogue, progress)
        return _traced(dataset, findings, Path("voxgraft-cases.csv"))
    workflow = read(target, catalogue, overrides)
    readers = catalogue.with_options("reader", workflow.data.reader_options)
    models = Resolver(readers, workflow.place)
    dataset = find_dataset(workflow.data, readers, supervised=workflow.supervised, channels=channels_of(workflow))
    first: list[CaseProblem] = []
    judges = (("transfer", check_transfer), ("weights", check_start), ("transfer", partial(_check_beside, dataset)))
    for code, judge in judges:
        try:
            judge(workflow, models)
        except (DataError, TrainingError, ModelError, TrackingError) as error:
            first.append(CaseProblem(code, "error", None, str(error)))
    findings = check_dataset(dataset, readers, workflow, progress)
    findings = replace(findings, problems=(*first, *findings.problems))
    return _traced(dataset, findings, Path("runs", workflow.name, "cases.csv"))


def _traced(dataset: Dataset, findings: Findings, target: Path) -> Findings:
    """Write the local list of cases beside the check, where their names are hashes; its place is among the figures."""
    if not is_traced(dataset):
        return findings
    try:
        write_trace(target, dataset)
    except OSError as error:
        text = f"{target}: the list of where each case lies cannot be written: {error.strerror}"
        return replace(findings, problems=(*findings.problems, CaseProblem("note", "note", None, text)))
    return replace(findings, figures={**findings.figures, "list": str(target)})


def _check_beside(dataset: Dataset, workflow: Workflow, models: Resolver) -> None:
    """Refuse a workflow whose strategies learn from scans that are not there.

    Raises:
        DataError: There are no scans without labels, no source, or another data set cannot be read.
    """
    split, _ = find_split(dataset, workflow)
    if split is not None:
        labelled = [case for case in dataset.cases if case.label is not None]
        assign_roles(
            roles_of(workflow),
            dataset,
            read_companions(workflow.data, models.catalogue),
            limited(split, labelled, workflow.data.limit, workflow.data.split.seed),
        )
