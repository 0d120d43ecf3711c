"""What the pages on installing say is what the project declares."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_a_machine_that_only_segments_gets_all_but_the_server_of_mlflow() -> None:
    lines = (DOCS / "requirements-predict.txt").read_text().splitlines()
    needs = {line for line in lines if line and not line.startswith("#")}
    declared = set(PROJECT["dependencies"])
    (mlflow,) = {need for need in declared if need.startswith("mlflow")}
    client = {mlflow.replace("mlflow", "mlflow-skinny")}
    assert needs - declared - client == {need for need in needs if need.startswith("alembic")}
    assert declared - needs == {mlflow} and client <= needs


def test_the_seconds_of_starting_are_those_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "startup.json").read_text())["cpu_seconds"]
    rows = re.findall(r"^\| `voxgraft ([^`]+)`[^|]*\| ([\d.]+) \| ([\d.]+) \|", (DOCS / "install.md").read_text(), re.M)
    assert {name: {"before": float(before), "now": float(now)} for name, before, now in rows} == found


def test_the_minutes_of_the_first_hour_are_those_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "first_hour.json").read_text())
    text = " ".join((DOCS / "install.md").read_text().split())
    installing = next(row["seconds"] for row in found["rows"] if "pip install" in row["command"])
    assert (
        f"is there after {found['minutes_to_first_mask']} minutes, of which installing takes {installing / 60:.1f}."
        in text
    )
    assert f"take {found['minutes']} minutes" in text and found["failed"] == []


def test_every_extra_is_named() -> None:
    text = (DOCS / "install.md").read_text()
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text.partition("## Extras")[2].partition("## ")[0], re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == PROJECT["optional-dependencies"].keys()


def test_the_bundle_is_made_by_a_script_that_a_shell_can_read(tmp_path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = DOCS / "offline" / "bundle.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert subprocess.run(["bash", str(script)], capture_output=True).returncode == 2
    there = subprocess.run(["bash", str(script), str(tmp_path)], capture_output=True, text=True)
    assert there.returncode == 2 and "already exists" in there.stderr


def test_the_container_is_built_from_what_is_there() -> None:
    text = (DOCS / "containers" / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.M) for word in line.split()]
    assert all((ROOT / word).exists() for word in copied)
    extras = re.search(r"^ARG EXTRAS=(\S+)$", text, re.M)
    assert extras and set(extras[1].split(",")) <= PROJECT["optional-dependencies"].keys()
