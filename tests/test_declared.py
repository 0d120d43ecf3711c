"""What is imported is declared, by the extra that needs it; constraints.txt holds what CI installs, no more."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"dev", "benchmark", "docs"}
FOR_USERS = EXTRAS.keys() - FOR_DEVELOPERS
CI = ("demo", "dev", "docs", "lite")
OTHER_NAMES = {"grpc": "ray", "nnInteractive": "nninteractive-client"}
"""Modules that are named otherwise than what brings them, where that may not be installed."""
UNDECLARED = {
    "dynamic_network_architectures": "nnU-Net's networks refuse the timm that is tested here: installed with --no-deps",
    "nnunetv2": "for the same reason",
    "monailabel": "its client alone is installed, with --no-deps, by .ci/run",
    "moto": "stands for object storage; the tests that use it skip where it is not there",
}
BUILDS = ("cuda-", "nvidia-", "torch", "triton")
"""What differs between the builds of PyTorch."""


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (("core", "plugins/voxgraft_plugins", "plugins/voxgraft_dicom", "registry"), FOR_USERS),
        (("benchmarks",), {"benchmark", "cluster", "demo"}),
        (("tests", "docs"), FOR_USERS | {"dev", "docs"}),
    ],
)
def test_what_is_imported_is_declared(folders, extras) -> None:
    needs = [*PROJECT["dependencies"], *(need for extra in extras for need in EXTRAS[extra])]
    declared = {canonicalize_name(Requirement(need).name) for need in needs}
    brought_by, ours = packages_distributions(), {path.stem for path in _sources("tests", "benchmarks", "docs")}
    found = {}
    for path in _sources(*folders):
        for module in _imported(path) - ours:
            names = {*brought_by.get(module, ()), OTHER_NAMES.get(module, module)}
            if module not in UNDECLARED and not declared & {canonicalize_name(name) for name in names}:
                found[module] = path.relative_to(ROOT).as_posix()
    assert not found


@pytest.mark.parametrize("project", sorted((ROOT / "plugins").glob("voxgraft-*")), ids=lambda path: path.name)
def test_what_a_plugin_of_its_own_imports_is_declared_by_it(project) -> None:
    needs = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    declared = {canonicalize_name(Requirement(need).name) for need in needs}
    brought_by = packages_distributions()
    sources = (path for folder in project.glob("voxgraft_*") for path in folder.rglob("*.py"))
    found = {module for path in sources for module in _imported(path)}
    names = {module: {*brought_by.get(module, ()), module} for module in found}
    assert [module for module in names if not declared & {canonicalize_name(name) for name in names[module]}] == []


def test_review_and_serve_declare_what_they_import_alike() -> None:
    assert set(EXTRAS["review"]) < set(EXTRAS["serve"]) < set(EXTRAS["dev"])


def test_constraints_hold_what_ci_installs_and_no_more() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    held = {canonicalize_name(line.partition("==")[0]) for line in lines if not line.startswith("#")}
    try:
        needed = set(_closure())
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed: this environment is not that of .ci/run")
    missing, more = needed - held, held - needed
    if sys.version_info[:2] != (3, 11):  # the versions are those of Python 3.11, which needs backports
        more = set()
    assert {name for name in missing | more if not name.startswith(BUILDS)} == set()


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*.py") if "voxgraft-" not in path.as_posix())


def _imported(path: Path) -> set[str]:
    """The first words of all imports that are neither of this project nor of the standard library."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module)
    first = {name.partition(".")[0] for name in found}
    return {name for name in first if name not in sys.stdlib_module_names and not name.startswith("voxgraft")}


def _closure() -> Iterator[str]:
    """Everything that the extras of CI bring, by the metadata of what is installed.

    Raises:
        PackageNotFoundError: Something is not installed.
    """
    waiting = [Requirement(need) for need in (*PROJECT["dependencies"], *(n for extra in CI for n in EXTRAS[extra]))]
    done: set[tuple[str, str]] = set()
    while waiting:
        need = waiting.pop()
        for extra in {"", *need.extras}:
            if (need.name, extra) in done:
                continue
            done.add((need.name, extra))
            theirs = [Requirement(line) for line in requires(need.name) or ()]
            waiting += [one for one in theirs if one.marker is None or one.marker.evaluate({"extra": extra})]
        yield canonicalize_name(need.name)
