"""Conformance checks of steps: they leave what they say, and are done again only where something has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..runs.run import StepSpec
from ..workflow.workflow import Workflow
from .conformance import ConformanceCheck, NotApplicable, Subject, require
from .small_run import small_run, small_workflow

CONCERNS = frozenset({"case", "dataset", "reader", "writer", "before", "voxgraft", "roles"})
"""What can matter to a step besides the sections of the workflow; see `voxgraft.runs.identity`."""


def _the_steps_before_it_are_there(subject: Subject, folder: Path) -> None:
    names = {spec.name for _, spec in subject.catalogue.of("step")}
    unknown = sorted(set(subject.spec.after) - names)
    require(not unknown, f"it comes after {', '.join(unknown)}, and there is no such step")
    require(subject.spec.name not in _before(subject, subject.spec), "it comes after itself")


def _what_cannot_matter_is_named(subject: Subject, folder: Path) -> None:
    known = CONCERNS | set(Workflow.model_fields)
    for concern, reason in subject.spec.independent_of.items():
        require(concern.split(".")[0] in known, f"nothing that could matter is called {concern!r}")
        require(reason.strip(), f"it gives no reason why {concern!r} cannot matter")


def _its_outputs_are_there_once_it_is_done(subject: Subject, folder: Path) -> None:
    run = small_run(subject, folder, _workflow(subject, folder))
    paths = list(subject.build().outputs(run))
    require(paths, "it says no outputs: nothing shows that it was done")
    for path in paths:
        require(path.is_relative_to(run.folder), f"its output {path.name} is not in the run's folder")
        require(path.is_file(), f"its output {path.name} is not there once it is done")
    require(paths == list(subject.build().outputs(run)), "asked twice, it says different outputs")


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


CHECKS = {
    "step": [
        ConformanceCheck("the steps that it comes after are there", _the_steps_before_it_are_there),
        ConformanceCheck("what it says cannot matter is something, with a reason", _what_cannot_matter_is_named),
        ConformanceCheck("its outputs are there once it is done", _its_outputs_are_there_once_it_is_done),
        ConformanceCheck("it is not done again where nothing has changed", _it_is_not_done_again),
    ]
}
