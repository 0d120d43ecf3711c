"""The engine: does the steps of a workflow in their order, and skips those that would leave what they left before."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..components.catalogue import Catalogue
from ..components.choice import Selected
from ..errors import DataError, UsageError, VoxGraftError
from ..packages.references import Resolver
from ..support.contents import Contents
from ..support.files import write_text
from ..support.lock import remove, sole_owner, sweep_tree
from ..support.progress import Progress
from ..workflow.workflow import Workflow
from ..workflow.yaml import dump
from .environment import environment, plugins_of
from .identity import is_independent, made_from, reasons, summarise
from .run import Run, Shared, Step, StepSpec

if TYPE_CHECKING:
    from ..batch.task import Executor

LEFT = ("steps", "train", "package", "evaluate", "members", "twin", "guard.json", "run.json", "contents.json")
"""What an earlier call left, of which `fresh` forgets."""

RUNNING = "running"
"""The key in `run.json` that stands there from the tracker's start to its end; a killed process leaves it."""


def run_workflow(
    workflow: Workflow,
    catalogue: Catalogue,
    folder: Path,
    *,
    steps: Sequence[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    registry: str | None = None,
    shared: Shared | None = None,
    executor: Executor | None = None,
) -> Run:
    """Do a workflow's steps in a folder.

    A workflow that stands for several splits (all folds, repeated draws) is done as one run for each of them, each in a
    folder of its own below `members/`; what they left is then put together.

    A step is skipped when its identity (see `voxgraft.runs.identity`) is that of the last time, and its own outputs
    are still what it left; one that needs labels also where the network looks at none.

    Args:
        steps: Only these, in the workflow's order; by default all.
        fresh: Forget what was done in the folder before, of these steps where some are named, and make prepared arrays
            again.
        registry: The tracking URI at which models are looked up, where the workflow names none.
        shared: What this run shares with the run that it is a part of.
        executor: Does the members of a run of several splits side by side, from training on.

    Raises:
        UsageError: A step is asked for that the workflow does not have, or the folder cannot be written, or another
            process works in it.
        VoxGraftError: A step failed; what was done before it stays done.
    """
    chosen = _chosen(workflow, steps)
    if executor is not None and not workflow.data.split.many:
        raise UsageError(
            "only the members of a run of several splits are done side by side (`--set data.split.fold=all`), and this "
            "workflow has one split; leave out --executor and --workers"
        )
    _make(folder)
    with sole_owner(folder, "running in", UsageError):
        sweep_tree(folder)
        if fresh:
            _forget(folder, steps)
        write_text(folder / "workflow.yaml", dump(workflow.document()))
        readers = catalogue.with_options("reader", workflow.data.reader_options)
        shared = shared or Shared(Contents(folder / "contents.json"), remade=set() if fresh else None)
        models = Resolver(readers, workflow.place or registry)
        run = Run(folder, workflow, models, progress or Progress(), executor=executor, _shared=shared)
        if (folder / "run.json").exists():
            run.identity.update(run.read("run.json"))
        run.write("environment.json", environment(plugins_of(run)))
        without = [step.name for step in chosen if _has_no_labels(step, workflow)]
        for name in without:
            run.progress.say(f"{name}: skipped: a pretraining uses no labels")
        run.doing = tuple(step.name for step in chosen)
        _do(run, [step for step in chosen if step.name not in without])
        if run.remarks:
            run.progress.say(f"{workflow.name}: {'; '.join(run.remarks)}")
    return run


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file has that name" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise UsageError(f"{folder}: cannot be made the folder of a run: {reason}; name another with --out") from None


def _forget(folder: Path, steps: Sequence[str] | None) -> None:
    """Of all steps; or of some, in members and twins too, so that the others still say when they are out of date."""
    if steps is None:
        for name in LEFT:
            remove(folder / name)
        return
    for run_folder in (folder, *folder.glob("members/*"), *folder.glob("**/twin")):
        for name in steps:
            remove(run_folder / "steps" / f"{name}.json")
            if name in ("train", "evaluate"):
                remove(run_folder / name)


def _do(run: Run, chosen: Sequence[Selected[Step]]) -> None:
    status = "FAILED"
    try:
        for selected, step in _steps(run, chosen):
            _complain_of_stale(run, selected, chosen)
            run.made_from = made_from(run, selected)
            why = _why_again(run, selected.name, step)
            if why == []:
                run.progress.say(f"{selected.name}: unchanged, skipped{_made_with(run, selected.name)}")
                run.remarks += _record(run, selected.name).get("remarks", [])
                continue
            if why:
                run.progress.say(f"{selected.name}: done again, since {summarise(why)}")
            if run.tracker is None and any(_is_tracked(one) for one in chosen):
                _track(run)
            start = time.monotonic()
            run.write(f"steps/{selected.name}.json", {"made_from": run.made_from})
            before = len(run.remarks)
            step.do(run)
            spec = selected.component
            if isinstance(spec, StepSpec) and spec.elsewhere is not None:  # a registry is there once it was made
                run.made_from = {**run.made_from, **spec.elsewhere(run)}
            _note(run, selected.name, step, time.monotonic() - start, run.remarks[before:])
        if run.tracker is None and RUNNING in run.identity:  # it was killed after its last step
            _track(run)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        run.shared.contents.save()
        if run.tracker is not None:
            run.tracker.finish(status)
            run.identity.pop(RUNNING, None)
            run.write("run.json", run.identity)


def _steps(run: Run, chosen: Sequence[Selected[Step]]) -> Iterator[tuple[Selected[Step], Step]]:
    """The steps, one after the other; those of a run of many splits, once its members are done."""
    if not run.workflow.data.split.many:
        for selected in chosen:
            yield selected, selected.build()
        return
    from .cross_validation import combined_step, do_members

    do_members(run, [step.name for step in chosen])
    for selected in chosen:
        step = combined_step(selected)
        if step is not None:
            yield selected, step


def _is_tracked(step: Selected[Step]) -> bool:
    return isinstance(step.component, StepSpec) and step.component.tracked


def _track(run: Run) -> None:
    """Start the tracker once there is something to do, before you spend hours training."""
    if run.workflow.tracking is not None:
        tracker = run.workflow.tracking.build()
        tracker.start(run)
        run.tracker = tracker
        run.identity[RUNNING] = run.workflow.tracking.name
        run.write("run.json", run.identity)


def _chosen(workflow: Workflow, steps: Sequence[str] | None) -> list[Selected[Step]]:
    if steps is None:
        return list(workflow.steps)
    names = [step.name for step in workflow.steps]
    for step in steps:
        if step not in names:
            raise UsageError(f"the workflow has no step {step!r}; its steps are {', '.join(names)}")
    return [step for step in workflow.steps if step.name in steps]


def _has_no_labels(step: Selected[Step], workflow: Workflow) -> bool:
    return isinstance(step.component, StepSpec) and step.component.labelled and not workflow.supervised


def _record(run: Run, name: str) -> Mapping[str, Any]:
    """What was noted of a step when it was done, or begun; empty where it was not, or the note is of another form."""
    try:
        record = run.read(f"steps/{name}.json")
    except VoxGraftError:
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("made_from"), dict) else {}


def _why_again(run: Run, name: str, step: Step) -> list[str] | None:
    """Why a step is to be done again; nothing where it is not, and None where it was never done."""
    record = _record(run, name)
    if not record:
        recorded = (run.folder / "steps" / f"{name}.json").exists()
        return ["its record is damaged, or was made by an earlier VoxGraft"] if recorded else None
    if changes := reasons(run.made_from, record["made_from"]):
        return changes
    if "outputs" not in record:
        return ["it was not finished"]
    outputs: Mapping[str, str] = record["outputs"]
    written = {_below(run, path): path for path in step.outputs(run)}
    return [
        f"{path} is not what it left"
        for path in {**written, **outputs}
        if path not in outputs or run.shared.contents.of(run.folder / path) != outputs[path]
    ]


def _complain_of_stale(run: Run, selected: Selected[Step], chosen: Sequence[Selected[Step]]) -> None:
    """Refuse a step that works on what an earlier step left, where that step was not done or would now leave something
    else.

    Raises:
        DataError: It is so, and the earlier step is not to be done.
    """
    spec = selected.component
    assert isinstance(spec, StepSpec)
    names = [step.name for step in chosen]
    for earlier in run.workflow.steps:
        if earlier.name == selected.name or run.workflow.data.split.many:
            return
        if earlier.name in names or is_independent(f"before.{earlier.name}", spec.independent_of):
            continue
        if _has_no_labels(earlier, run.workflow):
            continue
        missing = [path for path in earlier.build().outputs(run) if not path.is_file()]
        if missing:
            raise DataError(f"{missing[0]}: is missing; {selected.name} needs it: run the earlier steps again")
        record = _record(run, earlier.name)
        if record and (changes := reasons(made_from(run, earlier), record["made_from"])):
            raise DataError(
                f"{selected.name}: the step {earlier.name!r} before it would now give another result "
                f"({summarise(changes)}); do it too, with --steps {earlier.name},{selected.name} or without --steps"
            )


def _made_with(run: Run, name: str) -> str:
    """The packages whose versions have changed since, where there are any: what is kept was made with others."""
    before = _record(run, name).get("packages", {})
    now = run.read("environment.json")["packages"]
    changed = [f"{name} {before[name]}, now {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    return f" (it was made with {summarise(changed)})" if changed else ""


def _note(run: Run, name: str, step: Step, seconds: float, remarks: Sequence[str]) -> None:
    outputs = {_below(run, path): run.shared.contents.of(path) for path in step.outputs(run) if path.is_file()}
    packages = run.read("environment.json")["packages"]
    record = {"made_from": run.made_from, "packages": packages, "outputs": outputs, "seconds": round(seconds, 2)}
    run.write(f"steps/{name}.json", {**record, "remarks": list(remarks)})
    run.progress.say(f"{name}: done in {seconds:.1f} s")


def _below(run: Run, path: Path) -> str:
    return Path(os.path.relpath(path, run.folder)).as_posix()
