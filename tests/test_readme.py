"""The commands of README and tutorials, in their order, on the demo's scans; trainings are cut to a few steps."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from told_commands import blocks, carry_out, commands, missing_from, shown_after

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TUTORIALS = [
    ROOT / "docs" / "tutorials" / f"{name}.md"
    for name in ("first-hour", "transfer", "models", "review", "viewers", "plugin")
]

ELSEWHERE = ("python3 -m venv",)
"""Commands that .ci/run and the tests of the demo stand for."""


@pytest.fixture(scope="module")
def project(tmp_path_factory, warm_python) -> tuple[Path, dict[str, str]]:
    """A folder that looks like a clone, and an environment with the command on its path."""
    pytest.importorskip("nilearn", reason="the demo's scans need voxgraft[demo]")
    scratch = tmp_path_factory.mktemp("readme")
    clone = scratch / "clone"
    clone.mkdir()
    for name in ("workflows", "tests"):
        (clone / name).symlink_to(ROOT / name)
    bin_ = scratch / "bin"
    bin_.mkdir()
    (bin_ / "voxgraft").write_text(f'#!/bin/sh\nexec {shlex.join(warm_python)} -m voxgraft "$@"\n')
    (bin_ / "voxgraft").chmod(0o755)
    offline = f"-q --no-deps --no-build-isolation --no-index --target {scratch}/site"
    pip = f'#!/bin/sh\nexec {sys.executable} -m pip "$@" {offline}\n'
    (bin_ / "pip").write_text(pip)
    (bin_ / "pip").chmod(0o755)
    roots = [str(scratch / "site"), *(str(ROOT / part) for part in ("core", "plugins", "registry"))]
    environment = {
        **os.environ,
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(roots),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "NO_COLOR": "1",
    }
    return clone, environment


@pytest.mark.timeout(1200)
def test_the_commands_of_readme_and_tutorials_work(project) -> None:
    clone, environment = project
    told = [line for line in commands(README) if not line.startswith(ELSEWHERE)]
    taught = [line for page in TUTORIALS for line in commands(page)]
    assert len(told) > 10 and len(taught) > 10
    shown = {command: lines for page in (README, *TUTORIALS) for command, lines in shown_after(page).items()}
    for command in dict.fromkeys([*told, *taught]):  # what was done is not done again
        output = carry_out(command, clone, environment)
        assert not (missing := missing_from(output, shown.get(command, []))), f"{command}: {missing}\n{output}"
    for block in blocks(README, "python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=clone, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr[-3000:]}"
    assert (clone / "batch" / "report.html").exists()
    masks = list((clone / "batch").glob("*/mask.nii.gz"))
    assert len(masks) == 4  # a series of each patient; the localizer is left out
    originals, released = (list((clone / name).rglob("*.dcm")) for name in ("demo-data/dicom", "study-without-names"))
    assert len(released) == len(originals) > 0, "none is held back"
    for folder, heading in (("runs/deepbet", "A run"), ("runs/heads/package", "A package"), ("batch", "A batch")):
        assert not unknown(clone / folder, heading), f"docs/reference/files.md, {heading}"


def unknown(folder: Path, heading: str) -> set[str]:
    """Files that lie at the top of a folder and are not in its table."""
    page = (ROOT / "docs" / "reference" / "files.md").read_text()
    table = re.search(rf"^## {heading}.*?(?=^## |\Z)", page, re.M | re.S)
    assert table is not None
    told = {path.split("/")[0] for path in re.findall(r"`([^`]+)`", table[0])}
    cases = {path.parent.name for path in folder.glob("*/report.json")}
    return {path.name for path in folder.iterdir()} - told - cases


def test_every_command_of_the_command_line_is_in_its_help() -> None:
    import click

    from voxgraft.cli import main

    commands = set(main.list_commands(click.Context(main)))
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:^|[`/])voxgraft ([a-z]+)", text, re.M))
    assert named <= commands, named - commands
