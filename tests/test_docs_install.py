"""What the pages on installing say is what the project declares."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_sizes_are_those_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "installations.json").read_text())
    text = (DOCS / "install.md").read_text()
    rows = re.findall(r"^\| `(voxgraft[^`]*)`[^|]*\| (\d+) \| ([\d.]+) GB \|$", text, re.M)
    assert {name: (int(count), float(size)) for name, count, size in rows} == {
        name: (row["distributions"], round(row["megabytes"] / 1000, 2)) for name, row in found["cases"].items()
    }
    adds = re.findall(r"^\| `(\w+)` \|[^|]*\| (\d+) MB \|$", text, re.M)
    assert {name: int(size) for name, size in adds} == {
        name: row["megabytes"] for name, row in found["added_by"].items()
    }
    assert all(row["pip_check"] == "No broken requirements found." for row in found["cases"].values())
    plain = found["cases"]["voxgraft"]
    assert f"With the CPU build, VoxGraft\nwithout extras takes {plain['megabytes'] / 1000:.1f} GB" in README
    for name, label in {"torch": "PyTorch", "simpleitk": "SimpleITK", "scipy": "SciPy"}.items():
        assert re.search(rf"{label}(?: takes)? {plain['largest'][name]} MB", text)


def test_commands_for_pytorch_bring_the_build_that_they_promise() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "torch_index.json").read_text())
    text = (DOCS / "install.md").read_text().partition("## Which build")[2].partition("## ")[0]
    told = set(re.findall(r"`((?:uv )?pip install [^`]+)`", text))
    assert len(told) == 5 and told <= {row["command"] for row in found["trials"]}
    assert all(row["as_promised"] for row in found["trials"])
    held = re.findall(r"^(?:torch|torchvision)==.+$", (ROOT / "constraints.txt").read_text(), re.M)
    assert len(held) == 2 and " ".join(held) in text


def test_what_segments_needs_no_server_of_mlflow() -> None:
    names = {re.split(r"[\[>]", need)[0] for need in PROJECT["dependencies"]}
    assert {"mlflow-skinny", "alembic", "sqlalchemy"} <= names and "mlflow" not in names
    assert [need.partition(">")[0] for need in PROJECT["optional-dependencies"]["mlflow"]] == ["mlflow"]


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


def test_the_image_was_built_from_this_file_and_used() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "container_image.json").read_text())
    assert found["dockerfile"] == sha256((DOCS / "containers" / "Dockerfile").read_bytes()).hexdigest()
    assert {row["exit_code"] for row in found["steps"]} == {0} and found["user"] == "voxgraft"
    text = " ".join((DOCS / "howto" / "container.md").read_text().split())
    assert f"The image takes {found['megabytes'] / 1000:.1f} GB" in text


def test_an_engine_is_sent_what_the_container_takes_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    text = (DOCS / "containers" / "Dockerfile").read_text()
    assert sent == {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.M) for word in line.split()}
    assert "*" in lines


def test_the_bundle_was_used_to_its_end() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "offline_bundle.json").read_text())
    done = " ".join(row["command"] for row in found["steps"] if not row.get("network", True))
    text = (DOCS / "howto" / "offline.md").read_text()
    assert f"{found['wheels']}\nwheels, {found['megabytes']} MB" in text
    assert all(f"voxgraft {word}" in done for word in ("run", "segment", "review", "evaluate", "models export"))
    assert found["masks"] and found["reviewed"]


def test_the_container_is_built_from_what_is_there() -> None:
    text = (DOCS / "containers" / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.M) for word in line.split()]
    assert all((ROOT / word).exists() for word in copied)
    extras = re.search(r"^ARG EXTRAS=(\S+)$", text, re.M)
    assert extras and set(extras[1].split(",")) <= PROJECT["optional-dependencies"].keys()
