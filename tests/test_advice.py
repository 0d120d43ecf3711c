"""Messages, help texts and documents name only commands, options, workflow keys and components that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import pytest
from pydantic import BaseModel

from voxgraft.cli import COMMANDS, main
from voxgraft.components.catalogue import Catalogue
from voxgraft.hookspecs import KINDS
from voxgraft.workflow.workflow import Workflow

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for root in ("core", "plugins", "registry") for path in (ROOT / root).rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "workflows").glob("*.yaml"))]

VERB = re.compile(
    r"(?:`|^|\$ |python -m |[;:(] |\b(?:see|say|use|with|by|run|or|and|of|to) )voxgraft (?:--debug )?([a-z][a-z-]*)",
    re.MULTILINE,
)
OPTION = re.compile(r"(?<![\w-])(?<!var\()--[a-z][a-z-]+(?![a-z:-])")
KEY = re.compile(
    r"(?<![\w./-])((?:data|model|training|inference|evaluation|tracking|registry|guard)(?:\.[a-z_]+)+)(?![\w(/])"
)
USED = re.compile(r"\buse: ([a-z][a-z0-9-]*)")

OTHERS = {
    "--backend-store-uri": "mlflow's",
    "--query-gpu": "nvidia-smi's",
    "--format": "nvidia-smi's",
    "--no-deps": "pip's",
    "--force-reinstall": "pip's",
    "--index-url": "pip's",
    "--reinstall-package": "uv's",
    "--torch-backend": "uv's",
    "--no-such-option-of-anything": "no command's: a conformance check gives it to see it refused",
}
"""Options of other programs that are named, with whose they are; those of benchmarks/ are looked up there."""

APART = {"smp": "the plugin in plugins/voxgraft-smp, which is installed by itself"}
"""Components that are named and not built in."""

FILES = (".json", ".safetensors")
"""Endings of files that look like a dotted key."""

MODULES = ("core/voxgraft/__init__.py", "core/voxgraft/plugin.py")
"""Files that name modules of the core, which look like a dotted key."""


def texts(path: Path) -> Iterator[str]:
    """The strings of a module that people may see: those of code, and the docstrings of commands."""
    tree = ast.parse(path.read_text())
    hidden = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            shown = isinstance(node, ast.FunctionDef) and any("command" in ast.dump(one) for one in node.decorator_list)
            if is_text and not shown:
                hidden.add(id(first.value))  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values]
            hidden |= {id(part) for part in node.values}
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield node.value


def commands(group: click.Group = main, name: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        assert command is not None
        yield f"{name}{verb}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name}{verb} ")


def options() -> set[str]:
    every = [parameter for _, command in [("", main), *commands()] for parameter in command.params]
    return {text for one in every for text in (*one.opts, *one.secondary_opts)} | {"--help", "--version", "--debug"}


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, str]]:
    """Every text with where it stands."""
    found = [(path.relative_to(ROOT).as_posix(), text) for path in SOURCES for text in texts(path)]
    return found + [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in DOCUMENTS]


def test_every_command_that_is_named_is_there(seen: list[tuple[str, str]], catalogue: Catalogue) -> None:
    known = {*COMMANDS, *(spec.name for _, spec in catalogue.of("command"))}
    strange = {(place, verb) for place, text in seen for verb in VERB.findall(text) if verb not in known}
    assert not strange


def test_every_option_that_is_named_is_there(seen: list[tuple[str, str]]) -> None:
    scripts = " ".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))
    known = options() | OTHERS.keys() | set(OPTION.findall(scripts))
    strange = {(place, text) for place, whole in seen for text in OPTION.findall(whole) if text not in known}
    assert not strange


def test_every_key_of_a_workflow_that_is_named_is_there(seen: list[tuple[str, str]], catalogue: Catalogue) -> None:
    strange = {
        (place, key)
        for place, text in seen
        for key in KEY.findall(text)
        if place not in MODULES and not key.endswith(FILES) and not leads_somewhere(key, catalogue)
    }
    assert not strange


def test_every_component_that_is_named_is_there(seen: list[tuple[str, str]], catalogue: Catalogue) -> None:
    names = {spec.name for kind in KINDS for _, spec in catalogue.of(kind)}
    names |= APART.keys() | fixed_uses(Workflow, set())
    for source in (ROOT / "plugins").glob("voxgraft-*/voxgraft_*/*.py"):  # projects of their own, not installed here
        names.update(re.findall(r'name="([a-z0-9-]+)"', source.read_text()))
    strange = {(place, name) for place, text in seen for name in USED.findall(text) if name not in names}
    assert not strange


ANYTHING = object()
"""What stands for a mapping whose keys are names of one's own."""


def leads_somewhere(key: str, catalogue: Catalogue) -> bool:
    """Whether a dotted key is one of the schema; below a component, an option of some component of its kind."""
    models: list[Any] = [Workflow]
    for part in key.split("."):
        known = [pair for model in models if model is not ANYTHING for pair in model.model_fields.items()]
        fields = [field for name, field in known if part in (name, field.alias)]
        if not fields:
            return ANYTHING in models
        models = [model for field in fields for model in inside(field, catalogue)]
    return True


def inside(field: Any, catalogue: Catalogue) -> list[Any]:
    """The models that a field may hold."""
    kinds = [one.kind for one in field.metadata if hasattr(one, "kind")]
    found = [spec.options() for kind in kinds for _, spec in catalogue.of(kind)]
    waiting, seen = [field.annotation], []
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            seen.append(one)
        kinds = [part.kind for part in get_args(one) if hasattr(part, "kind")]
        found += [spec.options() for kind in kinds for _, spec in catalogue.of(kind)]
        waiting += [part for part in get_args(one) if not isinstance(part, str)]
        if get_origin(one) is dict:
            seen.append(ANYTHING)
    return [*found, *seen]


def fixed_uses(model: Any, done: set[Any]) -> set[str]:
    """What a key `use` may hold where the schema lists it, as of optimisers and schedules."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {name for part in get_args(model) if not isinstance(part, str) for name in fixed_uses(part, done)}
    if model in done:
        return set()
    done.add(model)
    use = model.model_fields.get("use")
    own = {one for one in get_args(use.annotation) if isinstance(one, str)} if use is not None else set()
    return own | {name for field in model.model_fields.values() for name in fixed_uses(field.annotation, done)}


def test_names_that_are_not_there_would_be_seen(catalogue: Catalogue) -> None:
    assert VERB.findall("look for it; voxgraft review shows them, or `voxgraft wrong`") == ["review", "wrong"]
    assert (
        OPTION.findall("say --executor ray (--no-such)") == ["--executor", "--no-such"] and "--no-such" not in options()
    )
    assert not leads_somewhere("training.precission", catalogue) and leads_somewhere("training.precision", catalogue)
    assert leads_somewhere("data.layout.patient", catalogue) and not leads_somewhere("data.layout.nothing", catalogue)
    assert KEY.findall("set training.optimiser.lr, or data.split.seed") == ["training.optimiser.lr", "data.split.seed"]
