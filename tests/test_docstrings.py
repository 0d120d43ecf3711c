"""Docstrings: a public function of several parameters says what they are, and says it of parameters that it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "voxgraft"
OTHERS = [*(ROOT / "plugins" / "voxgraft_plugins").iterdir(), *(ROOT / "plugins" / "voxgraft_dicom").iterdir()]
OTHERS += [*(ROOT / "plugins").glob("voxgraft-*/voxgraft_*"), ROOT / "registry" / "voxgraft_registry"]
SEVERAL = 3
"""So many parameters need a section `Args:`."""
COMMAND = re.compile(r"\.(command|option|argument|group)\b")
"""The marks of commands, which explain their options in the help that they print."""
ELSEWHERE = {"cli/__init__.py:Amount.convert", "cli/__init__.py:There.convert"}
"""Methods that libraries ask for, and explain."""
CONTRACTS = {
    "make": "networks:encoder_decoder.py:Encoder.make",
    "write": "imaging:formats.py:Writer.write",
    "losses": "transfer:strategy.py:TransferStrategy.losses",
    "inputs": "transfer:strategy.py:TransferStrategy.inputs",
    "features": "transfer:strategy.py:TransferStrategy.features",
}
"""Methods that the engine asks of components: their parameters are explained where it does."""
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


def written(folder: Path) -> Iterator[tuple[str, Function]]:
    for path in [folder] if folder.suffix else sorted(folder.rglob("*.py")):
        for name, function in functions(ast.parse(path.read_text(encoding="utf-8")).body):
            yield f"{path.relative_to(folder.parent)}:{name}", function


def lacking(folder: Path) -> list[str]:
    """Public functions of several parameters without a section that explains them."""
    return [
        name
        for name, function in written(folder)
        if not any(part.startswith("_") for part in name.split(":")[1].split("."))
        and len(parameters(function)) >= SEVERAL
        and not section(function)
        and name not in ELSEWHERE
        and not any(
            COMMAND.search(ast.unparse(mark)) or ast.unparse(mark) == "overload" for mark in function.decorator_list
        )
    ]


FOLDERS = sorted(path.name for path in CORE.iterdir() if path.name != "__pycache__")
PACKAGES = sorted(path for path in OTHERS if path.name != "__pycache__" and path.suffix in ("", ".py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_public_functions_explain_their_parameters(folder: str) -> None:
    assert not lacking(CORE / folder), "these lack a section Args"


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: path.name)
def test_those_of_plugins_do_where_no_contract_explains_them(folder: Path) -> None:
    own = [name for name in lacking(folder) if name.rpartition(".")[2] not in CONTRACTS]
    assert not own, "these lack a section Args"


@pytest.mark.parametrize("contract", CONTRACTS.values())
def test_contracts_explain_their_parameters(contract: str) -> None:
    folder, _, name = contract.partition(":")
    assert [section(function) for at, function in written(CORE / folder) if at == f"{folder}/{name}"] not in ([], [""])


@pytest.mark.parametrize("folder", [*(CORE / name for name in FOLDERS), *PACKAGES], ids=lambda path: path.name)
def test_what_is_explained_is_a_parameter(folder: Path) -> None:
    wrong = [
        (name, one)
        for name, function in written(folder)
        for entry in ENTRY.findall(section(function))
        for one in entry.split(", ")
        if one not in parameters(function)
    ]
    assert not wrong, f"these explain what is not a parameter: {wrong}"
