"""Docstrings: a public function of several parameters says what they are, and says it of parameters that it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).parents[1] / "core" / "voxgraft"
SEVERAL = 3
"""So many parameters need a section `Args:`."""
ELSEWHERE = {"cli"}
"""Commands explain their options in the help that they print."""
SECTION = re.compile(r"^Args:\n((?:    .*\n|\n)+)", re.M)
ENTRY = re.compile(r"^    (\S[^:]*):", re.M)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, Function]]:
    """Functions of a module and methods of its classes, by their qualified names."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{within}{node.name}.")
        elif isinstance(node, Function):
            yield f"{within}{node.name}", node


def parameters(function: Function) -> list[str]:
    every = function.args
    given = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
    return [one.arg for one in given if one is not None and one.arg not in ("self", "cls")]


def section(function: Function) -> str:
    found = SECTION.search((ast.get_docstring(function) or "") + "\n")
    return found[1] if found else ""


def written(folder: str) -> Iterator[tuple[str, Function]]:
    files = [CORE / folder] if folder.endswith(".py") else sorted((CORE / folder).rglob("*.py"))
    for path in files:
        for name, function in functions(ast.parse(path.read_text(encoding="utf-8")).body):
            yield f"{path.relative_to(CORE)}:{name}", function


FOLDERS = sorted(
    path.name for path in CORE.iterdir() if (path.is_dir() or path.suffix == ".py") and path.name != "__pycache__"
)


@pytest.mark.parametrize("folder", sorted({*FOLDERS} - ELSEWHERE))
def test_public_functions_explain_their_parameters(folder: str) -> None:
    lacking = [
        name
        for name, function in written(folder)
        if not any(part.startswith("_") for part in name.split(":")[1].split("."))
        and len(parameters(function)) >= SEVERAL
        and not section(function)
    ]
    assert not lacking, f"these lack a section Args: {lacking}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_explained_is_a_parameter(folder: str) -> None:
    wrong = [
        (name, one)
        for name, function in written(folder)
        for entry in ENTRY.findall(section(function))
        for one in entry.split(", ")
        if one not in parameters(function)
    ]
    assert not wrong, f"these explain what is no parameter: {wrong}"
