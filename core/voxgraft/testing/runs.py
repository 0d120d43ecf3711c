"""Conformance checks of steps and trackers, tried in a run of a second on four boxes.

Steps leave what they say, and are done again only where something has changed; a tracker keeps a run from start to end,
and nothing that is said of it stops the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..components.choice import TrackingOptions
from ..errors import VoxGraftError
from ..imaging.volume import Volume
from ..imaging.write import write
from ..runs.engine import run_workflow
from ..runs.run import Run, StepSpec
from ..support.progress import Progress
from ..workflow.workflow import Workflow, from_document
from .conformance import NotApplicable, Subject, check, require

CONCERNS = frozenset({"case", "dataset", "reader", "writer", "before", "voxgraft", "roles"})
"""What can matter to a step besides the sections of the workflow; see `voxgraft.runs.identity`."""


@check("step", "the steps that it comes after are there")
def _the_steps_before_it_are_there(subject: Subject, folder: Path) -> None:
    names = {spec.name for _, spec in subject.catalogue.of("step")}
    unknown = sorted(set(subject.spec.after) - names)
    require(not unknown, f"it comes after {', '.join(unknown)}, and there is no such step")
    require(subject.spec.name not in _before(subject, subject.spec), "it comes after itself")


@check("step", "what it says cannot matter is something, with a reason")
def _what_cannot_matter_is_named(subject: Subject, folder: Path) -> None:
    known = CONCERNS | set(Workflow.model_fields)
    for concern, reason in subject.spec.independent_of.items():
        require(concern.split(".")[0] in known, f"nothing that could matter is called {concern!r}")
        require(reason.strip(), f"it gives no reason why {concern!r} cannot matter")


@check("step", "its outputs are there once it is done")
def _its_outputs_are_there_once_it_is_done(subject: Subject, folder: Path) -> None:
    run = small_run(subject, folder, _workflow(subject, folder))
    paths = list(subject.build().outputs(run))
    require(paths, "it says no outputs: nothing shows that it was done")
    for path in paths:
        require(path.is_relative_to(run.folder), f"its output {path.name} is not in the run's folder")
        require(path.is_file(), f"its output {path.name} is not there once it is done")
    require(paths == list(subject.build().outputs(run)), "asked twice, it says different outputs")


@check("step", "it is not done again where nothing has changed")
def _it_is_not_done_again(subject: Subject, folder: Path) -> None:
    workflow = _workflow(subject, folder)
    run = small_run(subject, folder, workflow)
    note = run.folder / "steps" / f"{subject.spec.name}.json"
    before, when = run.read(f"steps/{subject.spec.name}.json"), note.stat().st_mtime_ns
    again = small_run(subject, folder, workflow)
    after = again.read(f"steps/{subject.spec.name}.json")
    differ = [name for name in before["made_from"] if before["made_from"][name] != after["made_from"].get(name)]
    require(not differ, f"nothing has changed, and yet it finds another {', '.join(differ[:3])}")
    require(note.stat().st_mtime_ns == when, "nothing has changed, and yet it is done again")


def _workflow(subject: Subject, folder: Path) -> Workflow:
    before = _before(subject, subject.spec)
    own = {"use": subject.spec.name, **subject.chosen.options.model_dump(mode="json")}
    steps: list[Any] = [*[name for name in before if name != subject.spec.name], own]
    return small_workflow(subject, folder, steps)


def _before(subject: Subject, spec: StepSpec[Any]) -> list[str]:
    """The steps that must be done before one, in their order."""
    specs = {one.name: one for _, one in subject.catalogue.of("step")}
    found: list[str] = []

    def visit(names: tuple[str, ...], depth: int) -> None:
        for name in names:
            one = specs.get(name)
            if one is None:
                raise NotApplicable(f"there is no step {name!r}")
            require(depth < len(specs), f"the steps before {spec.name!r} come after each other")
            visit(one.after if isinstance(one, StepSpec) else (), depth + 1)
            if name not in found:
                found.append(name)

    visit(spec.after, 0)
    return found


@check("tracker", "a run is kept from start to end, and left as it is")
def _a_run_is_kept_from_start_to_end(subject: Subject, folder: Path) -> None:
    run = _run(subject, folder)
    before = _documents(run)
    tracker = _started(subject, run)
    tracker.params({"training": {"budget": "2 steps", "patch": [16, 16]}, "note": "größer als 画像", "none": None})
    for step in range(3):
        tracker.metrics({"loss": 1.0 / (1 + step), "dice.left kidney": 0.5}, step)
    tracker.tags({"guard": "helps"})
    tracker.file(run.folder / "environment.json", "notes")
    tracker.finish("FINISHED")
    changed = [name for name, content in before.items() if _documents(run).get(name) != content]
    require(not changed, f"it changes what the run left in {', '.join(changed)}")


@check("tracker", "a run may be finished twice")
def _finishing_twice_is_finishing(subject: Subject, folder: Path) -> None:
    tracker = _started(subject, _run(subject, folder))
    tracker.finish("FINISHED")
    tracker.finish("FINISHED")


@check("tracker", "a run that has ended can be continued")
def _a_run_goes_on(subject: Subject, folder: Path) -> None:
    run = _run(subject, folder)
    for status in ("KILLED", "FAILED", "FINISHED"):
        tracker = _started(subject, run)
        tracker.metrics({"loss": 1.0}, 7)
        tracker.finish(status)


@check("tracker", "numbers that are not finite stop nothing")
def _numbers_that_are_not_finite_stop_nothing(subject: Subject, folder: Path) -> None:
    tracker = _started(subject, _run(subject, folder))
    tracker.metrics({"loss": math.nan, "best": math.inf, "worst": -math.inf, "huge": 1e300}, 0)
    tracker.finish("FINISHED")


@check("tracker", "nothing to keep, and odd names of files, stop nothing")
def _odd_names_stop_nothing(subject: Subject, folder: Path) -> None:
    run = _run(subject, folder)
    tracker = _started(subject, run)
    odd = run.folder / "Bericht (größer).json"
    odd.write_text("{}", encoding="utf-8")
    tracker.file(odd)
    tracker.metrics({}, 0)
    tracker.params({})
    tracker.finish("FINISHED")


def _run(subject: Subject, folder: Path) -> Run:
    options = subject.chosen.options
    if isinstance(options, TrackingOptions) and options.uri is None:
        raise NotApplicable("name a place to try it at: --option uri=...")
    return small_run(subject, folder, small_workflow(subject, folder, ["check"]))


def _started(subject: Subject, run: Run) -> Any:
    tracker = subject.build()
    tracker.start(run)
    return tracker


def _documents(run: Run) -> dict[str, bytes]:
    return {name: (run.folder / name).read_bytes() for name in ("workflow.yaml", "environment.json")}


def small_workflow(subject: Subject, folder: Path, steps: Sequence[str], **sections: Any) -> Workflow:
    """A workflow of those steps on data that is made here; the subject's own sections come last.

    Args:
        subject: The component under test; its catalogue reads the data.
        folder: Where the data are made.
        steps: The names of the workflow's steps.
        sections: Other sections of the workflow, by their names.

    Raises:
        NotApplicable: It is refused, such as for a section that the component needs.
    """
    document: dict[str, Any] = {
        "voxgraft": 1,
        "name": "conformance",
        "data": {
            "layout": {"use": "pairs", "path": _boxes(subject, folder / "data").as_posix()},
            "modality": "mr",
            "labels": {"box": 1},
            "split": {"folds": 2},
        },
        "model": {"dims": 3, "encoder": "residual", "decoder": "unet"},
        "training": {"budget": "2 steps", "patch": [16, 16, 16], "device": "cpu"},
        "evaluation": {"metrics": ["dice"]},
        "tracking": None,
        "steps": list(steps),
        **sections,
        **subject.sections,
    }
    try:
        return from_document(document, subject.catalogue)
    except VoxGraftError as error:
        raise NotApplicable(f"no small workflow takes it: {error}") from None


def small_run(subject: Subject, folder: Path, workflow: Workflow) -> Run:
    """The workflow's steps, done in `folder / "run"`.

    Args:
        subject: The component under test, whose catalogue is used.
        folder: Holds the run's folder.
        workflow: See `small_workflow`.
    """
    return run_workflow(workflow, subject.catalogue, folder / "run", progress=Progress(quiet=True))


def _boxes(subject: Subject, folder: Path) -> Path:
    """Four noisy scans with a box each, as images/ and labels/."""
    dice = np.random.default_rng(1)
    for number in range(4):
        label = np.zeros((16, 16, 16), np.uint8)
        label[3 + number : 9 + number, 5:11, 5:11] = 1
        for name, array in (("images", dice.poisson(20 + 100 * label).astype(np.int16)), ("labels", label)):
            target = folder / name / f"c{number}.nii.gz"
            write(Volume(array, np.eye(4)), target, subject.catalogue, None, {}, writer="nifti")
    return folder
