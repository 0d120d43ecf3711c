"""Plugins that are projects of their own import of VoxGraft what every plugin may, and name all that they offer."""

from __future__ import annotations

import ast
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from told_commands import commands
from voxgraft.discovery import discover
from voxgraft.workflow.workflow import read

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


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_the_commands_of_its_page_name_what_it_offers(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder, its components, and a workflow that is valid with the values that are set."""
    monkeypatch.chdir(project.parents[1])
    monkeypatch.syspath_prepend(str(project))
    catalogue = discover([*entry_points_of(Path("pyproject.toml")), *entry_points_of(project / "pyproject.toml")])
    told = [shlex.split(line) for line in commands(Path("docs") / f"{project.name.removeprefix('voxgraft-')}.md")]
    for words in told:
        if words[:2] == ["pip", "install"]:
            assert Path(words[2].partition("[")[0]) == project.relative_to(project.parents[1])
        elif words[1:3] == ["plugins", "test"]:
            assert catalogue.get(*words[3].split(":"))
        else:
            assert words[:2] == ["voxgraft", "run"] and words[3] == "--set"
            assert read(Path(words[2]), catalogue, words[4:]).name
    assert {words[1] for words in told} == {"install", "plugins", "run"}


def entry_points_of(file: Path) -> Iterator[EntryPoint]:
    groups = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["entry-points"]
    return (EntryPoint(name, value, group) for group, names in groups.items() for name, value in names.items())
