"""Start a plugin: a small project that installs, works and passes its conformance checks from the first minute."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from ..errors import UsageError
from ..support.files import atomic_write

KINDS = {
    "reader": {
        "spec": "ReaderSpec",
        "hook": "voxgraft_readers",
        "class_": "Reader",
        "more": '            suffixes=(".$name",),\n',
    },
    "modality": {"spec": "ModalitySpec", "hook": "voxgraft_modalities", "class_": "Modality", "more": ""},
    "metric": {
        "spec": "MetricSpec",
        "hook": "voxgraft_metrics",
        "class_": "Metric",
        "more": "            higher_is_better=True,\n",
    },
    "loss": {"spec": "LossSpec", "hook": "voxgraft_losses", "class_": "Loss", "more": ""},
    "decoder": {"spec": "DecoderSpec", "hook": "voxgraft_decoders", "class_": "Decoder", "more": ""},
}
"""What differs in the spec of each kind for which there is a start."""


def start(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a plugin project for a component of one kind, whole or not at all, and give its files.

    Args:
        name: The component's name, such as `fundus`; the project is called `voxgraft-fundus`.
        folder: Where the project's folder is made.

    Raises:
        UsageError: The name is no lower-case word, there is no start for the kind, or the folder is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"{name!r} is no name for a plugin; take a lower-case word such as 'fundus'")
    if kind not in KINDS:
        raise UsageError(f"there is no start for a {kind}; there are {', '.join(KINDS)}")
    project = folder / f"voxgraft-{name}"
    if project.exists():
        raise UsageError(f"{project}: is there already; take another name, or another folder with --out")
    module = f"voxgraft_{name.replace('-', '_')}"
    words = {"name": name, "module": module, "kind": kind, **KINDS[kind]}
    words["more"] = Template(words["more"]).substitute(words)
    with atomic_write(project) as beside:
        for source, target in {
            "pyproject.toml": "pyproject.toml",
            "README.md": "README.md",
            "init.py": f"{module}/__init__.py",
            "options.py": f"{module}/options.py",
            f"{kind}.py": f"{module}/{kind}.py",
            f"test_{kind}.py": f"tests/test_{module}.py",
        }.items():
            path = beside / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(_template(source)).substitute(words), encoding="utf-8")
    return sorted(path for path in project.rglob("*") if path.is_file())


def _template(name: str) -> str:
    folder = files(__package__) / "templates"
    own = folder / f"{name}.txt"
    return (own if own.is_file() else folder / "test_component.py.txt").read_text(encoding="utf-8")
