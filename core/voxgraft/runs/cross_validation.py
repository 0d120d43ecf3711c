"""A run of several splits: cross-validation, repeated draws of labelled patients, or both.

Each split is a run of its own below `members/`, resumable by itself. What they leave is put together: one package in
which their networks vote, the scores of every held-out case (each once), and how much scores differ between members.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..components.choice import Selected
from ..datasets.cases import Split
from ..datasets.dataset import split_of
from ..datasets.split import check_folds
from ..errors import DataError
from ..workflow.workflow import Workflow, from_document
from .members import MemberTask, side_by_side
from .run import Run, Step, StepSpec


@dataclass(frozen=True, slots=True)
class Member:
    """One of the runs.

    Attributes:
        name: Of its folder, such as `fold_0`, `repeat_2` or `fold_0_repeat_2`.
    """

    name: str
    fold: int
    repeat: int
    split: Split


def members_of(run: Run) -> list[Member]:
    """The members of a run, in order: repeats within folds.

    Raises:
        DataError: A patient would be learnt from and held out, or be held out by two folds.
    """
    options, dataset = run.workflow.data.split, run.dataset
    labelled = [case for case in dataset.cases if case.label is not None]
    number = options.folds if options.by == "patient" else len(dataset.splits)
    folds = list(range(max(1, number))) if options.fold == "all" else [options.fold]
    repeats = list(range(options.repeats)) if options.repeat == "all" else [options.repeat]
    members = []
    for fold in folds:
        for repeat in repeats:
            parts = [f"fold_{fold}"] if options.fold == "all" else []
            parts += [f"repeat_{repeat}"] if len(repeats) > 1 else []
            split = split_of(dataset, labelled, options.model_copy(update={"fold": fold, "repeat": repeat}))
            members.append(Member("_".join(parts), fold, repeat, split))
    for repeat in repeats:
        check_folds([member.split for member in members if member.repeat == repeat], labelled)
    return members


def folder_of(run: Run, member: Member) -> Path:
    return run.folder / "members" / member.name


def member_workflow(run: Run, member: Member) -> Workflow:
    """The workflow of a member: one split, prepared arrays shared with the others, nothing registered."""
    document = run.workflow.document()
    document["name"] = f"{run.workflow.name} {member.name.replace('_', ' ')}"
    document["data"]["split"].update(fold=member.fold, repeat=member.repeat)
    document["data"]["cache"] = run.cache.as_posix()
    document["steps"] = [step.document() for step in run.workflow.steps if _spec(step).by_members]
    document["registry"] = None
    return from_document(document, run.catalogue, f"{member.name} of {run.workflow.name}")


def member_runs(run: Run) -> Iterator[tuple[str, Run]]:
    """The name and the run of each member, for what it left."""
    for member in members_of(run):
        yield member.name, Run(folder_of(run, member), run.workflow, run.models, run.progress, _shared=run.shared)


def do_members(run: Run, steps: Sequence[str]) -> None:
    """Run the steps of each member, one after the other, or from training on side by side; what is done is skipped.

    Raises:
        DataError: See `members_of`.
        TrainingError: See `side_by_side`.
    """
    members = members_of(run)
    wanted = [step.name for step in run.workflow.steps if _spec(step).by_members and step.name in steps]
    first = wanted.index("train") if run.executor is not None and "train" in wanted else len(wanted)
    early, late = wanted[:first], wanted[first:]
    if early:
        _one_after_the_other(run, members, early)
    if late and run.executor is not None:
        run.shared.kept.clear()
        side_by_side(run.catalogue, run.progress, [_task(run, member, late) for member in members], run.executor)


def _one_after_the_other(run: Run, members: Sequence[Member], steps: Sequence[str]) -> None:
    from .engine import run_workflow

    for number, member in enumerate(members, start=1):
        name = member.name.replace("_", " ")
        run.progress.say(f"{name} ({number} of {len(members)})")
        workflow, folder = member_workflow(run, member), folder_of(run, member)
        handed: dict[str, Any] = {"registry": run.models.uri, "shared": run.shared}
        with run.progress.part(f"{name}, {number} of {len(members)}"):
            run_workflow(workflow, run.catalogue, folder, steps=steps, progress=run.progress, **handed)


def _task(run: Run, member: Member, steps: Sequence[str]) -> MemberTask:
    """The steps of a member as a value; it begins with what is known of the files that all members read."""
    folder = folder_of(run, member).absolute()
    run.shared.contents.save()
    known = run.shared.contents.path
    if known.is_file() and folder.is_dir():
        shutil.copyfile(known, folder / known.name)
    document = member_workflow(run, member).document()
    return MemberTask(member.name, document, folder, tuple(steps), run.models.uri, Path.cwd())


def combined_step(chosen: Selected[Step]) -> Step | None:
    """What is done on the whole for a step; None where only the members do it."""
    spec = _spec(chosen)
    if spec.scope == "member":
        return None
    selected = Selected(replace(spec, build=spec.together), chosen.options, chosen.plugin) if spec.together else chosen
    return selected.build()


def _spec(chosen: Selected[Step]) -> StepSpec[Any]:
    assert isinstance(chosen.component, StepSpec)
    return chosen.component


def read_member(run: Run, member: Member, name: str) -> Any:
    """A document that a member left.

    Args:
        run: The run of all members.
        member: One fold or draw.
        name: The document, as a path in the member's folder.

    Raises:
        DataError: It is not there: the member's steps must be done again.
    """
    return run.read(f"members/{member.name}/{name}")


def merged_documents(run: Run, members: Sequence[Member]) -> dict[str, Any]:
    """What was measured of all cases, and which member holds out which."""
    measured: dict[str, Any] = {}
    for member in members:
        measured.update(read_member(run, member, "fingerprint.json")["cases"])
    known = {name for member in members for name in (*member.split.train, *member.split.validation)}
    if missing := sorted(known - set(measured)):
        raise DataError(f"{run.folder}: case {missing[0]!r} was measured by no member; run the earlier steps again")
    splits: Mapping[str, Any] = {member.name: member.split.document() for member in members}
    held_out = sorted({name for member in members for name in member.split.validation})
    train = sorted({name for member in members for name in member.split.train})
    return {"cases": measured, "split": {"train": train, "validation": held_out, "members": splits}}
