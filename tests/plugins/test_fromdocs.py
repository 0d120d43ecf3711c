"""The plugin that docs/plugins.md spells out, block by block, passes `plugins test` as it stands on the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from voxgraft.hookspecs import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
PROJECT = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"
[project]
name = "voxgraft-fromdocs"
version = "0.1.0"
[tool.hatch.build.targets.wheel]
packages = ["voxgraft_fromdocs"]
"""
SHORT = ("encoder", "decoder", "strategy", "metric", "writer")
"""Each of these takes at most 30 lines, its spec included."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def pieces() -> list[tuple[str, str]]:
    """The file and the text of each block that names one, in the order of the page."""
    found = [re.match(r"# (voxgraft_fromdocs/\w+\.py)\n", block) for block in blocks("python")]
    return [(match[1], block) for match, block in zip(found, blocks("python"), strict=True) if match]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, repo_path: dict[str, str]) -> dict[str, str]:
    """Where the page's plugin is installed."""
    folder = tmp_path_factory.mktemp("fromdocs")
    project, site = folder / "project", folder / "site"
    (project / "voxgraft_fromdocs").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT + "".join(blocks("toml")))
    for name, text in pieces():
        with (project / name).open("a") as file:
            file.write(text + "\n\n")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(project)], check=True, capture_output=True)
    return {**repo_path, "PYTHONPATH": os.pathsep.join([str(site), repo_path["PYTHONPATH"]])}


NAMES = {
    "reader": "voxels",
    "writer": "voxels",
    "layout": "beside",
    "modality": "scaled",
    "encoder": "two",
    "decoder": "join",
    "strategy": "shrink",
    "loss": "plain",
    "metric": "power-jaccard",
    "measurement": "median",
    "step": "count",
    "tracker": "notes",
    "store": "shelf",
    "executor": "serial",
    "command": "greet",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_the_page_passes_its_checks_at_the_first_try(
    kind: str, environment: dict[str, str], warm_python: list[str], tmp_path: Path
) -> None:
    options = []
    if kind == "layout":
        for name in ("a_1", "b_1"):
            (tmp_path / f"{name}.nii.gz").touch()
            (tmp_path / f"{name}_mask.nii.gz").touch()
        options = ["--option", f"path={tmp_path}"]
    line = [*warm_python, "-m", "voxgraft", "plugins", "test", f"{kind}:{NAMES[kind]}", "--json", *options]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (component,) = json.loads(done.stdout)["components"]
    skipped = [check for check in component["checks"] if check["state"] == "skipped"]
    assert len(component["checks"]) >= 5 and len(skipped) <= (kind in ("layout", "executor")), skipped


@pytest.mark.parametrize("kind", SHORT)
def test_a_component_takes_at_most_thirty_lines_with_its_spec(kind: str) -> None:
    own = [text for name, text in pieces() if name == f"voxgraft_fromdocs/{kind}.py"]
    specs = [text for name, text in pieces() if name.endswith("__init__.py") and f"def {KINDS[kind]}()" in text]
    assert len(own) == len(specs) == 1
    assert len((own[0] + specs[0]).splitlines()) <= 30
