"""The engine: does the steps of a workflow in their order, and passes over those whose inputs have not changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..discovery import Catalogue
from ..errors import UsageError, VoxGraftError
from ..files import digest, remove, sha256, sweep_tree, write_json, write_text
from ..interfaces import Step
from ..lock import sole_owner
from ..models import Resolver
from ..progress import Progress
from ..slot import Chosen
from ..workflow import Workflow
from ..yamlfile import dump
from .environment import environment
from .run import Run


def run_workflow(
    workflow: Workflow,
    catalogue: Catalogue,
    folder: Path,
    *,
    steps: Sequence[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    registry: str | None = None,
) -> Run:
    """Do a workflow's steps in a folder.

    A workflow that stands for several splits (all folds, repeated draws) is done as one run for each of them, each in a
    folder of its own below `members/`; what they left is then put together.

    A step is passed over when its inputs (what earlier steps left is among them) are those of the last time, and its
    own outputs are still what it left; one that needs labels also where the network looks at none.

    Args:
        steps: Only these, in the workflow's order; by default all.
        fresh: Forget what was done in the folder before.
        registry: The tracking URI at which models are looked up, where the workflow names none.

    Raises:
        UsageError: A step is asked for that the workflow does not have, or the folder cannot be written, or another
            process works in it.
        VoxGraftError: A step failed; what was done before it stays done.
    """
    chosen = _chosen(workflow, steps)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file has that name" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise UsageError(f"{folder}: cannot be made the folder of a run: {reason}; name another with --out") from None
    with sole_owner(folder, "running in", UsageError):
        sweep_tree(folder)
        if fresh:
            for name in ("steps", "train", "package", "evaluate", "members", "twin", "guard.json", "run.json"):
                remove(folder / name)
        write_text(folder / "workflow.yaml", dump(workflow.document()))
        write_json(folder / "environment.json", environment(workflow, catalogue))
        readers = catalogue.with_options("reader", workflow.data.reader_options)
        models = Resolver(readers, workflow.place or registry)
        run = Run(folder, workflow, models, progress or Progress())
        if (folder / "run.json").exists():
            run.identity.update(run.read("run.json"))
        for one in chosen:
            if _has_no_labels(one, workflow):
                run.progress.say(f"{one.name}: passed over, a pretraining looks at no labels")
        _do(run, [one for one in chosen if not _has_no_labels(one, workflow)])
    return run


def _do(run: Run, chosen: Sequence[Chosen[Step]]) -> None:
    status = "FAILED"
    try:
        for name, document, step in _steps(run, chosen):
            key = digest({"step": document, "inputs": dict(step.inputs(run))})
            if _is_done(run, name, key, step):
                run.progress.say(f"{name}: unchanged, passed over")
            else:
                if run.tracker is None:
                    _track(run)
                start = time.monotonic()
                step.do(run)
                _note(run, name, key, step, time.monotonic() - start)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        if run.tracker is not None:
            run.tracker.finish(status)


def _steps(run: Run, chosen: Sequence[Chosen[Step]]) -> Iterator[tuple[str, Any, Step]]:
    """Name, document and step, one after the other; those of a run of many splits, once its members are done."""
    if not run.workflow.data.split.many:
        for one in chosen:
            yield one.name, one.document(), one.build()
        return
    from .many import do_members, together

    do_members(run, [one.name for one in chosen])
    for one in chosen:
        step = together(one)
        if step is not None:
            yield one.name, one.document(), step


def _track(run: Run) -> None:
    """Start the tracker once there is something to do, before any hour is spent."""
    if run.workflow.tracking is not None:
        tracker = run.workflow.tracking.build()
        tracker.start(run)
        run.tracker = tracker


def _chosen(workflow: Workflow, steps: Sequence[str] | None) -> list[Chosen[Step]]:
    if steps is None:
        return list(workflow.steps)
    names = [one.name for one in workflow.steps]
    for step in steps:
        if step not in names:
            raise UsageError(f"the workflow has no step {step!r}; its steps are {', '.join(names)}")
    return [one for one in workflow.steps if one.name in steps]


def _has_no_labels(step: Chosen[Step], workflow: Workflow) -> bool:
    return getattr(step.component, "labelled", False) and not workflow.supervised


def _is_done(run: Run, name: str, key: str, step: Step) -> bool:
    try:
        record = run.read(f"steps/{name}.json")
        outputs: dict[str, Any] = record["outputs"]
    except (VoxGraftError, KeyError, TypeError):
        return False
    paths = [run.folder / path for path in outputs]
    return (
        record.get("key") == key
        and all(path.is_file() for path in paths)
        and all(path.is_file() for path in step.outputs(run))
        and all(sha256(run.folder / path) == value for path, value in outputs.items())
    )


def _note(run: Run, name: str, key: str, step: Step, seconds: float) -> None:
    outputs = {
        Path(os.path.relpath(path, run.folder)).as_posix(): sha256(path) for path in step.outputs(run) if path.is_file()
    }
    run.write(f"steps/{name}.json", {"key": key, "outputs": outputs, "seconds": round(seconds, 2)})
    run.progress.say(f"{name}: done in {seconds:.1f} s")
