"""Start a plugin: a small project that installs, works and passes its conformance checks from the first minute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from ..errors import UsageError
from ..hookspecs import KINDS, spec_class
from ..support.files import atomic_write

TEMPLATES = files(__package__) / "templates"


@dataclass(frozen=True, slots=True)
class Start:
    """What differs between the starts of the kinds.

    Attributes:
        fields: Lines of the spec besides name, summary and build; `$name` is the component's name.
        options: It has options.
    """

    fields: tuple[str, ...] = ()
    options: bool = True


STARTS = {
    "reader": Start(('suffixes=(".$name",),',)),
    "writer": Start(('suffixes=(".$name.nii",),', 'filename="mask.$name.nii",', "dims=frozenset({3}),"), options=False),
    "layout": Start(),
    "modality": Start(),
    "encoder": Start(),
    "decoder": Start(),
    "strategy": Start(),
    "loss": Start(),
    "metric": Start(("higher_is_better=True,",)),
    "measurement": Start(('units=("HU",),',)),
    "step": Start(('after=("check",),',), options=False),
    "tracker": Start(options=False),
    "store": Start(('schemes=("$name:",),',), options=False),
    "executor": Start(options=False),
    "command": Start(options=False),
}


def start(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a plugin project for a component of one kind, whole or not at all, and give its files.

    Args:
        name: The component's name, such as `fundus`; the project is called `voxgraft-fundus`.
        kind: One of `voxgraft.hookspecs.KINDS`.
        folder: Where the project's folder is made.

    Raises:
        UsageError: The name is not a lower-case word, there is no such kind, or the folder is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"{name!r} is not a plugin name; use a lower-case word such as 'fundus'")
    if kind not in STARTS:
        raise UsageError(f"there is no kind {kind!r}; the kinds are {', '.join(STARTS)}")
    project = folder / f"voxgraft-{name}"
    if project.exists():
        raise UsageError(f"{project}: already exists; choose another name, or another folder with --out")
    words = _words(name, kind)
    with atomic_write(project) as beside:
        for target, source in _sources(kind, words["module"]).items():
            path = beside / target
            path.parent.mkdir(parents=True, exist_ok=True)
            template = (TEMPLATES / f"{source}.txt").read_text(encoding="utf-8")
            path.write_text(Template(template).substitute(words), encoding="utf-8")
    return sorted(path for path in project.rglob("*") if path.is_file())


def _words(name: str, kind: str) -> dict[str, str]:
    """What the templates leave open."""
    chosen = STARTS[kind]
    words = {"name": name, "module": f"voxgraft_{name.replace('-', '_')}", "kind": kind, "hook": KINDS[kind]}
    words["spec"] = spec_class(kind).__name__
    words["class_"] = kind if kind == "command" else kind.capitalize()
    words["more"] = "".join(f"            {Template(line).substitute(words)}\n" for line in chosen.fields)
    words["beside"] = " `options.py` holds its options." if chosen.options else ""
    return words


def _sources(kind: str, module: str) -> dict[str, str]:
    """The files of a project, and the template of each: the kind's own, where it has one."""

    def own(name: str, otherwise: str) -> str:
        return name if (TEMPLATES / f"{name}.txt").is_file() else otherwise

    sources = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}/__init__.py": "init.py" if STARTS[kind].options else "plain_init.py",
        f"{module}/{kind}.py": f"{kind}.py",
        f"tests/test_{module}.py": own(f"test_{kind}.py", "test_component.py"),
    }
    if STARTS[kind].options:
        sources[f"{module}/options.py"] = own(f"{kind}_options.py", "options.py")
    return sources
