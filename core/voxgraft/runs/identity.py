"""What a step is made from, and so whether it must be done again: one rule for all steps.

The identity of a step begins with everything that can decide what it leaves: every value of the workflow, what its
values refer to, the code of every component and of VoxGraft, every case of every data set, and what earlier steps left.
The step's spec says what of this cannot matter to it, with a reason each (`StepSpec.independent_of`). There is no list
of what to include.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..components.choice import Options, Selected
from ..components.code import source_hash, version_of
from ..errors import VoxGraftError
from ..imaging.write import choose_writer
from ..networks.options import FILE, HUB, MODELS, StartValues
from ..networks.sources import hub_path
from ..packages.package import MANIFEST
from ..packages.store import StoreSpec
from ..preprocessing.state import DataState, readers_taking_part
from ..support.files import digest
from ..support.machine import device_kind
from ..support.workers import in_threads
from ..workflow.requirements import needs_of
from .run import Run, Step, StepSpec

SHOWN = 3
"""Reasons that are said; the others are counted."""

CODE, CONTENT, KIND, BEFORE = "the code of ", "what is in ", "the kind of ", "what an earlier step left, "


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that can decide what a step leaves.

    Attributes:
        concern: The word by which a step declares that it cannot matter: a key of the workflow, or `case.FIELD`,
            `dataset.FIELD`, `before.STEP`, `reader`, `voxgraft`.
        name: What people are told.
    """

    concern: str
    name: str
    value: Any


def made_from(run: Run, chosen: Selected[Step]) -> dict[str, Any]:
    """The identity of a step: plain values by their names; the step is done again where one of them is another.

    Raises:
        DataError: A data set that matters to the step is not there.
    """
    spec = chosen.component
    assert isinstance(spec, StepSpec)
    facts = [Fact("step", f"steps.{spec.name}.{key}", value) for key, value in leaves(chosen.document())]
    facts.append(Fact("step", f"{CODE}the step {spec.name}", _code(run, spec)))
    facts += decisive(facts_of(run, spec.independent_of), spec.independent_of)
    if spec.elsewhere is not None:
        facts += [Fact("elsewhere", name, value) for name, value in spec.elsewhere(run).items()]
    if not is_independent("before", spec.independent_of):
        facts += decisive(_before(run, chosen), spec.independent_of)
    return {fact.name: fact.value for fact in facts}


def decisive(facts: Iterable[Fact], independent_of: Mapping[str, str]) -> list[Fact]:
    """The facts less those that are declared not to matter."""
    return [fact for fact in facts if not is_independent(fact.concern, independent_of)]


def is_independent(concern: str, independent_of: Mapping[str, str]) -> bool:
    """Whether a key, or a section that it is in, is declared not to matter."""
    parts = concern.split(".")
    return any(".".join(parts[:length]) in independent_of for length in range(1, len(parts) + 1))


def facts_of(run: Run, independent_of: Mapping[str, str]) -> list[Fact]:
    """Everything but what earlier steps left.

    Args:
        independent_of: Sections in here are not looked at: what they name need not be there any more.
    """
    facts = [*_of_workflow(run, independent_of), Fact("voxgraft", "VoxGraft", _voxgraft(run)), *_of_writer(run)]
    facts.append(Fact("roles", "what the strategies need", sorted(needs_of(run.workflow))))
    facts.append(Fact("roles", "learning from labels", run.workflow.supervised))
    if not all(is_independent(key, independent_of) for key in ("case", "dataset", "reader")):
        facts += of_data(run)
    return facts


def of_data(run: Run) -> Sequence[Fact]:
    """What can decide of the data sets, as they were when this call first looked at them; the run then knows their
    readers.

    Raises:
        DataError: A data set is not there.
    """
    if run.data_facts is None:
        run.data_facts = list(_of_data(run))
    return run.data_facts


def reasons(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """In what two identities differ, in words for people."""
    gone = object()
    changes = []
    for name in (*now, *(name for name in before if name not in now)):
        new, old = now.get(name, gone), before.get(name, gone)
        if new == old:
            continue
        if old is gone:
            changes.append(f"{name} is {_shown(new)}, was not there" if _is_told(name) else f"{name} is new")
        elif new is gone:
            changes.append(f"{name} is not there, was {_shown(old)}" if _is_told(name) else f"{name} is gone")
        else:
            changes.append(f"{name} is {_shown(new)}, was {_shown(old)}" if _is_told(name) else f"{name} changed")
    return changes


def summarise(changes: list[str]) -> str:
    """The first reasons, and how many more there are; what earlier steps left is none where there are others."""
    changes = [change for change in changes if not change.startswith(BEFORE)] or changes
    more = f"; and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return "; ".join(changes[:SHOWN]) + more


def _is_told(name: str) -> bool:
    """Whether its values say something to people; a fingerprint does not."""
    return not name.startswith((CONTENT, BEFORE, "case ", "data set"))


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _of_workflow(run: Run, independent_of: Mapping[str, str]) -> Iterator[Fact]:
    """Every value of the workflow; what it refers to, where it names a file or a model; the code of every component."""
    for key, value in leaves(run.workflow.document()):
        if is_independent(key, independent_of):
            continue
        yield Fact(key, key, value)
        if isinstance(value, str) and (content := _content(value, run)) is not None:
            yield Fact(key, CONTENT + key, content)
        if key in ("training.device", "inference.device"):
            yield Fact(key, KIND + key, _device_kind(value))
    for key, chosen in components(run.workflow):
        yield Fact(key, CODE + key, _code(run, chosen.component))
    if not is_independent("model.encoder.weights", independent_of) and (weights_hash := _own_weights(run)):
        yield Fact("model.encoder.weights", f"{CONTENT}model.encoder.weights", weights_hash)


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and plain values of a document; an empty mapping or list is a value."""
    parts = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    if not parts or not value:
        yield key, value
        return
    for name, part in parts:
        yield from leaves(part, f"{key}.{name}" if key else str(name))


def components(value: Any, key: str = "") -> Iterator[tuple[str, Selected[Any]]]:
    """Every component that is chosen in a section, with its dotted key."""
    if isinstance(value, Selected):
        yield key, value
        value = value.options
    if isinstance(value, Options):
        parts: Iterable[tuple[Any, Any]] = [(name, getattr(value, name)) for name in type(value).model_fields]
    else:
        parts = (
            value.items()
            if isinstance(value, Mapping)
            else enumerate(value)
            if isinstance(value, (list, tuple))
            else ()
        )
    for name, part in parts:
        yield from components(part, f"{key}.{name}" if key else str(name))


def _content(value: str, run: Run) -> str | None:
    """A fingerprint of what a value names: a file, a model, a package or a repository; None where it names nothing."""
    if value.startswith(_schemes(run)):
        return _model(value, run)
    if value.startswith(HUB):
        if value not in run.shared.resolved:
            kept = hub_path(value)
            run.shared.resolved[value] = run.shared.contents.of(kept) if kept else "not there"
        return run.shared.resolved[value]
    path = Path(value.removeprefix(FILE)).expanduser() if value.startswith(FILE) else Path(value)
    try:
        if path.is_dir():
            path = path / MANIFEST
        return run.shared.contents.of(path) if path.is_file() or value.startswith(FILE) else None
    except (OSError, ValueError):  # too long or not possible as a path
        return None


def _device_kind(wanted: str) -> str:
    try:
        return device_kind(wanted)
    except VoxGraftError:  # whoever needs the device says why
        return "not there"


def _own_weights(run: Run) -> str:
    """A fingerprint of the weights that an encoder knows by a word of its own; empty where there are none of these."""
    model = run.workflow.model
    options = model.encoder.options
    named = options.weights if isinstance(options, StartValues) else "none"
    if not model.pretrained or model.start != "none" or named.startswith((FILE, HUB, *MODELS)):
        return ""
    if "own weights" not in run.shared.resolved:
        try:
            weights = model.encoder.build().weights(run.models)
        except VoxGraftError:  # whoever needs them says why
            weights, weights_hash = None, "not there"
        if weights is not None:
            weights_hash = weights.sha256 or digest({name: tensor.tolist() for name, tensor in weights.tensors.items()})
        run.shared.resolved["own weights"] = weights_hash if weights is not None else "not there"
    return run.shared.resolved["own weights"]


def _model(reference: str, run: Run) -> str:
    if reference not in run.shared.resolved:
        try:
            run.shared.resolved[reference] = run.models.resolve(reference).hash
        except VoxGraftError:  # whoever needs the model says why
            run.shared.resolved[reference] = "not there"
    return run.shared.resolved[reference]


def _schemes(run: Run) -> tuple[str, ...]:
    """How references to models begin, those that other stores than the registry answer to among them."""
    stores = [spec for _, spec in run.catalogue.of("store") if isinstance(spec, StoreSpec)]
    return (*MODELS, *(scheme for spec in stores for scheme in spec.schemes))


def _voxgraft(run: Run) -> str:
    if "voxgraft" not in run.shared.resolved:
        run.shared.resolved["voxgraft"] = f"{version_of('voxgraft')} ({source_hash('voxgraft')[:12]})"
    return run.shared.resolved["voxgraft"]


def _code(run: Run, spec: Any) -> str:
    """The module of a component's plugin, and a fingerprint of its code."""
    origin = run.catalogue.origin(spec)
    key = f"code {origin.module}"
    if key not in run.shared.resolved:
        code = run.catalogue.code_of(origin)
        run.shared.resolved[key] = f"{origin.module} ({code[:12]})"
    return run.shared.resolved[key]


def _of_writer(run: Run) -> Iterator[Fact]:
    """The code that writes masks into a run's folder."""
    try:
        yield Fact(
            "writer", f"{CODE}the writer of masks", _code(run, choose_writer(Path("mask.nii.gz"), run.catalogue))
        )
    except VoxGraftError:  # whoever writes one says why
        return


def _of_data(run: Run) -> Iterator[Fact]:
    """Every case of every data set, what else their layouts found, and the code of the readers of their files."""
    state = DataState(run.reading, run.shared.contents)
    for name, dataset in (("", run.dataset), *run.others.items()):
        of = f" {name}" if name else ""
        for fact, value in state.of_dataset(dataset).items():
            yield Fact(f"dataset.{fact}", f"data set{of}: {fact}", value)
        looking = f"looking at the files of {len(dataset.cases)} cases"
        cases = in_threads(state.of_case, dataset.cases, run.progress, looking)
        for case, row in zip(dataset.cases, cases, strict=True):
            shown = f"{name}/{case.id}" if name else case.id
            for fact, value in row.items():
                yield Fact(f"case.{fact}", f"case {shown}: {fact}", value)
    run.shared.contents.save()
    run.readers |= state.readers
    for spec in readers_taking_part(state.readers, run.catalogue):
        yield Fact("reader", f"{CODE}the reader {spec.name}", _code(run, spec))


def _before(run: Run, chosen: Selected[Step]) -> Iterator[Fact]:
    """What earlier steps left; of a run of many splits what the same steps of its members left too."""
    many = run.workflow.data.split.many
    for earlier in run.workflow.steps:
        own = earlier.name == chosen.name
        if many:
            from .cross_validation import member_runs

            for name, member in member_runs(run):
                yield from _left(member, earlier, earlier.build(), f"{name}'s ")
        if own:
            return
        if many:
            from .cross_validation import combined_step

            if (step := combined_step(earlier)) is not None:
                yield from _left(run, earlier, step)
        else:
            yield from _left(run, earlier, earlier.build())


def _left(run: Run, chosen: Selected[Step], step: Step, whose: str = "") -> Iterator[Fact]:
    for path in step.outputs(run):
        name = f"{BEFORE}{whose}{Path(os.path.relpath(path, run.folder)).as_posix()},"
        yield Fact(f"before.{chosen.name}", name, run.shared.contents.of(path))
