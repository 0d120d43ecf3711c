"""A plugin that `voxgraft plugins new` starts installs, is found, and passes its conformance checks untouched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from voxgraft.errors import UsageError
from voxgraft.hookspecs import KINDS
from voxgraft.scaffold import start


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project `voxgraft-try-KIND` of every kind, and `site`, where all of them are installed."""
    folder = tmp_path_factory.mktemp("projects")
    for kind in KINDS:
        start(f"try-{kind}", kind, folder)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    every = [str(folder / f"voxgraft-try-{kind}") for kind in KINDS]
    subprocess.run([*install, "--target", str(folder / "site"), *every], check=True, capture_output=True)
    return folder


@pytest.fixture
def output(projects: Path, repo_path: dict[str, str], warm_python: list[str]) -> Callable[..., str]:
    """What a module of Python says where the projects are installed; it must end well."""
    environment = {**repo_path, "PYTHONPATH": os.pathsep.join([str(projects / "site"), repo_path["PYTHONPATH"]])}

    def said(folder: Path, *line: str) -> str:
        call = [*warm_python, "-m", *line]
        done = subprocess.run(
            call, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return said


def test_new_plugins_are_listed(output: Callable[..., str], tmp_path: Path) -> None:
    document = json.loads(output(tmp_path, "voxgraft", "plugins", "list", "--json"))
    assert document["failures"] == [] and document["conflicts"] == []
    assert {(kind, f"try-{kind}") for kind in KINDS} <= {(one["kind"], one["name"]) for one in document["components"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests_from_the_first_minute(
    kind: str, projects: Path, output: Callable[..., str], tmp_path: Path
) -> None:
    project = projects / f"voxgraft-try-{kind}"
    said = output(project, "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "passed" in said and ("skipped" in said) == (kind in ("layout", "executor")), (
        said
    )  # it need not guess; threads do not die
    checks = json.loads(output(tmp_path, "voxgraft", "plugins", "test", f"{kind}:try-{kind}", "--json"))
    states = [check["state"] for check in checks["components"][0]["checks"]]
    assert states.count("passed") >= 4 and "failed" not in states


@pytest.mark.parametrize("name", ["", "Fundus", "a b", "../escape", "x/y", "-x", "ünder"])
def test_a_name_that_is_no_word_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lower-case word"):
        start(name, "reader", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    start("fundus", "reader", tmp_path)
    mine = tmp_path / "voxgraft-fundus" / "README.md"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        start("fundus", "metric", tmp_path)
    assert mine.read_text() == "mine"
    with pytest.raises(UsageError, match="there is no kind 'stair'"):
        start("other", "stair", tmp_path)
