"""Trainings side by side, each in a worker of an executor: members of a run of several splits, or several workflows.

What comes before training in members is done one after the other, for they share what they read and prepare; training
and what follows is handed to the workers. Workflows that are to be compared share nothing, and are handed over whole.
What fails is told, and the others go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..components.catalogue import Catalogue
from ..errors import TrainingError, UsageError, VoxGraftError
from ..support.contents import Contents
from ..support.progress import Progress
from ..workflow.workflow import Workflow, from_document
from .run import Shared

if TYPE_CHECKING:
    from ..batch.task import Executor, Outcome


@dataclass(frozen=True, slots=True)
class MemberTask:
    """Steps of one member, or of one workflow of several.

    Attributes:
        name: Of the member, such as `fold_0`.
        document: Its workflow.
        folder: Its folder, absolute.
        steps: Those to be done.
        registry: The tracking URI at which models are looked up.
        place: The working directory that paths are relative to.
        fresh: Forget what was done in the folder before.
    """

    name: str
    document: Mapping[str, Any]
    folder: Path
    steps: tuple[str, ...] | None
    registry: str | None
    place: Path
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class MemberResult:
    """What became of it.

    Attributes:
        error: One sentence; empty where all steps are done.
    """

    name: str
    seconds: float
    remarks: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class MemberWork:
    """What a worker does; it finds the plugins itself."""

    found_by: Callable[[], Catalogue]

    def __call__(self, task: MemberTask) -> MemberResult:
        """Run the steps of a member, and save what its files hold beside the member's own."""
        from .engine import run_workflow

        os.chdir(task.place)
        catalogue, begun = self.found_by(), time.monotonic()
        try:
            workflow = from_document(dict(task.document), catalogue, task.name)
            shared = Shared(Contents(task.folder / "contents.json"), remade=set() if task.fresh else None)
            handed: dict[str, Any] = {"registry": task.registry, "shared": shared, "progress": Progress(quiet=True)}
            run = run_workflow(workflow, catalogue, task.folder, steps=task.steps, fresh=task.fresh, **handed)
        except VoxGraftError as error:
            return MemberResult(task.name, time.monotonic() - begun, error=" ".join(str(error).split()))
        return MemberResult(task.name, time.monotonic() - begun, tuple(run.remarks))


def compare_workflows(
    workflows: Sequence[Workflow],
    catalogue: Catalogue,
    root: Path,
    executor: Executor,
    steps: Sequence[str] | None = None,
    fresh: bool = False,
) -> list[Path]:
    """Do several workflows side by side, each as a run of its own; their folders, for `voxgraft compare`.

    Args:
        workflows: Each has a name of its own.
        catalogue: Which the workers find anew.
        root: The folder above those of the runs, which have the workflows' names.
        executor: Does them.
        steps: Only these; by default all.
        fresh: Forget what was done in their folders before.

    Raises:
        UsageError: Two have the same name.
        TrainingError: Some have failed; the others are done.
    """
    names = [workflow.name for workflow in workflows]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two of the workflows are called {twice!r}; give each a `name` of its own")
    wanted = None if steps is None else tuple(steps)
    tasks = [
        MemberTask(
            workflow.name,
            workflow.document(),
            (root / workflow.name).absolute(),
            wanted,
            None,
            Path.cwd(),
            fresh,
        )
        for workflow in workflows
    ]
    side_by_side(catalogue, Progress(), tasks, executor)
    return [root / name for name in names]


def side_by_side(catalogue: Catalogue, progress: Progress, tasks: Sequence[MemberTask], executor: Executor) -> None:
    """Do tasks by an executor.

    Args:
        catalogue: Which the workers find anew.
        progress: Shows how far they are.
        tasks: One for each member or workflow.
        executor: Does them.

    Raises:
        UsageError: The plugins are known to this process alone.
        TrainingError: Some have failed; the others are done.
    """
    if catalogue.found_by is None:
        raise UsageError("these plugins exist in this process only, and no worker can find them")
    failed: dict[str, str] = {}
    with progress.bar("training side by side", len(tasks)) as bar:
        for result in _results(executor.run(MemberWork(catalogue.found_by), tasks)):
            name = result.name.replace("_", " ")
            said = f"failed: {result.error}" if result.error else f"done in {result.seconds:.0f} s"
            progress.say("; ".join([f"{name}: {said}", *result.remarks]))
            failed.update({name: result.error} if result.error else {})
            bar.advance(note=name)
    if failed:
        first = next(iter(failed.values()))
        raise TrainingError(
            f"{len(failed)} of {len(tasks)} failed ({', '.join(failed)}), the first because {first}; the others are "
            "done, and the same call does what is missing"
        )


def _results(outcomes: Iterator[Outcome]) -> Iterator[MemberResult]:
    """What each worker said; what it could not say is a failure of its member."""
    for outcome in outcomes:
        if isinstance(outcome.value, MemberResult):
            yield outcome.value
        elif isinstance(outcome.error, Exception):
            kind = "" if isinstance(outcome.error, VoxGraftError) else f"{type(outcome.error).__name__}: "
            yield MemberResult(outcome.task.name, 0.0, error=f"{kind}{outcome.error}")
        elif outcome.error is not None:
            raise outcome.error
