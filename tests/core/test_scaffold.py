"""A plugin that `voxgraft plugins new` starts installs, is found, and passes its conformance checks untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voxgraft.errors import UsageError
from voxgraft.hookspecs import KINDS
from voxgraft.scaffold import start


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests_from_the_first_minute(
    kind: str, tmp_path: Path, repo_path: dict[str, str]
) -> None:
    start("first-try", kind, tmp_path)
    project, site = tmp_path / "voxgraft-first-try", tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(project)], check=True, capture_output=True)
    environment = {**repo_path, "PYTHONPATH": os.pathsep.join([str(site), repo_path["PYTHONPATH"]])}
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(tests, cwd=project, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "passed" in done.stdout
    assert ("skipped" in done.stdout) == (kind == "layout"), done.stdout[-2000:]  # a layout need not guess
    for call, words in {"list": ["--kind", kind], "test": [f"{kind}:first-try"]}.items():
        line = [sys.executable, "-m", "voxgraft", "plugins", call, *words]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and " first-try" in done.stdout and "failed" not in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["", "Fundus", "a b", "../escape", "x/y", "-x", "ünder"])
def test_a_name_that_is_no_word_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lower-case word"):
        start(name, "reader", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    start("fundus", "reader", tmp_path)
    mine = tmp_path / "voxgraft-fundus" / "README.md"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        start("fundus", "metric", tmp_path)
    assert mine.read_text() == "mine"
    with pytest.raises(UsageError, match="there is no kind 'stair'"):
        start("other", "stair", tmp_path)
