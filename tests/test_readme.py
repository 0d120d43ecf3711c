"""The README's commands, word for word and in their order, on the demo's scans; trainings are cut to a few steps."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHORT = ["training.budget=6 steps", "evaluation.metrics=[dice]", "registry.promote=always"]
"""Set in each `voxgraft run`: README speaks of minutes, a test of steps, after which no model would be champion."""

ELSEWHERE = ("python3 -m venv",)
"""Commands that .ci/run and the tests of the demo stand for."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(ELSEWHERE)]


SERVERS = (["voxgraft", "serve"], ["voxgraft", "review"])
"""Commands that run until they are stopped by hand."""


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


@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_work(project) -> None:
    clone, environment = project
    told = commands()
    assert len(told) > 10
    for command in told:
        words = shlex.split(command)
        if words[:2] == ["voxgraft", "run"] and "--dry-run" not in words:
            command = (
                shlex.join([*words[:3], *(word for one in SHORT for word in ("--set", one))])
                + " "
                + " ".join(map(shlex.quote, without_budget(words[3:])))
            )
        command = re.sub(r"--minutes \d+", "--minutes 0.5", command)
        if words[:2] in SERVERS and "--summary" not in words:
            answer_and_stop([*words, "--port", "0"], clone, environment)
            continue
        done = subprocess.run(
            ["bash", "-c", command], cwd=clone, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=clone, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr[-3000:]}"
    assert (clone / "batch" / "report.html").exists()
    masks = list((clone / "batch").rglob("mask.nii.gz"))
    assert len(masks) == 4  # a series of each patient; the localizer is left out


def answer_and_stop(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Start a server, ask whether it is well, and stop it as Ctrl-C does."""
    import signal
    import urllib.request

    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = next((match for line in process.stdout if (match := re.search(r"http://[0-9.:]+", line))), None)
            assert address is not None, f"{words}: ended with {process.wait()} before it served"
            with urllib.request.urlopen(f"{address.group()}/healthz", timeout=30) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def without_budget(words: list[str]) -> list[str]:
    """The words of a call without its own `--set training.budget=...`."""
    kept: list[str] = []
    for word in words:
        if word.startswith("training.budget="):
            kept.pop()
        else:
            kept.append(word)
    return kept


def test_every_command_of_the_command_line_is_in_its_help() -> None:
    import click

    from voxgraft.cli import main

    commands = set(main.list_commands(click.Context(main)))
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:^|[`/])voxgraft ([a-z]+)", text, re.M))
    assert named <= commands, named - commands
