"""Plugins that are projects of their own import of VoxGraft what every plugin may, and name all that they offer."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECTS = sorted(tests.parent for tests in (Path(__file__).parents[1] / "plugins").glob("voxgraft-*/tests"))
FACE = {"voxgraft", "voxgraft.plugin", "voxgraft.testing"}


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports by their full names."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_plugin_imports_of_voxgraft_its_face_alone(project: Path) -> None:
    own = {path.parent.name for path in project.glob("*/__init__.py")}
    for file in project.rglob("*.py"):
        for module in imported(file):
            top = module.split(".")[0]
            assert not top.startswith("voxgraft") or module in FACE or top in own, f"{file.name} imports {module}"


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_plugin_has_all_that_a_stranger_looks_for(project: Path) -> None:
    document = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert document["name"] == project.name and "voxgraft" in document["dependencies"] and document["license"]
    assert any(group == "voxgraft" or group.startswith("voxgraft.") for group in document["entry-points"])
    assert (project / document["readme"]).is_file() and list(project.glob("*.yaml"))
    page = f"{project.name.removeprefix('voxgraft-')}.md"
    root = project.parents[1]
    assert (root / "docs" / page).is_file() and page in (root / "mkdocs.yml").read_text(encoding="utf-8")
