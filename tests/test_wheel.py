"""What is installed from a wheel does the whole job, with nothing of the repository in reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import voxgraft

sys.path.insert(0, str(Path(__file__).parent / "core"))
from datasets import boxes, workflow

from voxgraft.components.code import source_hash

ROOT = Path(__file__).parents[1]
FRESH = os.environ.get("VOXGRAFT_FRESH")
RUNNER = """\
import json, os, sys
from pathlib import Path

target, clone, calls = json.loads(sys.argv[1])
sys.path[:] = [place for place in sys.path if not Path(place or ".").resolve().is_relative_to(clone)
               or "site-packages" in place]
import voxgraft
from click.testing import CliRunner
from voxgraft.cli import main

said = []
for words in calls:
    done = CliRunner().invoke(main, words)
    said.append([done.exit_code, done.output])
ours = {name: module.__file__ for name, module in sys.modules.items()
        if name.startswith("voxgraft") and getattr(module, "__file__", None)}
strangers = [name for name, file in ours.items() if not Path(file).is_relative_to(target)]
from voxgraft.discovery import discover
from voxgraft.components.code import source_hash

code = {name: source_hash(origin.module, origin.distribution) for name, origin in discover().origins.items()
        if origin.distribution == "voxgraft"}
print(json.dumps({"code": code, "said": said, "strangers": strangers, "version": voxgraft.__version__}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True)
    return next(folder.glob("voxgraft-*.whl"))


def test_the_wheel_holds_every_file_of_its_packages(wheel) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    packages = ("core/voxgraft", "plugins/voxgraft_plugins", "plugins/voxgraft_dicom", "registry/voxgraft_registry")
    listed = subprocess.run(["git", "ls-files", *packages, "workflows"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is not a clone: git cannot say which files are ours")
    for name in listed.stdout.splitlines():
        inside = name.partition("/")[2] if not name.startswith("workflows/") else f"voxgraft/{name}"
        assert inside in held, name
    for part in ("static/vendor/niivue-LICENSE.txt", "static/scan.html", "static/viewer.js"):
        assert f"voxgraft/review/{part}" in held
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in held)
    assert not [name for name in held if name.startswith("tests/") or "__pycache__" in name]


def job(place: Path) -> dict[str, list[str]]:
    """The words of each call: from a folder of scans to a batch, in `place`."""
    data = boxes(place / "labelled", cases=4, shape=(16, 16, 16))
    train = workflow(place, data, steps="[check, plan, prepare, train, evaluate]", **{"12 steps": "4 steps"})
    scan = data / "imagesTr" / "box_000.nii.gz"
    return {
        "version": ["--version"],
        "plugins": ["plugins", "list"],
        "shipped": ["new", "--list"],
        "copied": ["new", "--from", "hippocampus_mr"],
        "inspect": ["inspect", str(scan)],
        "new": ["new", str(data), "--out", "begun.yaml"],
        "check": ["check", str(train)],
        "scaffold": ["plugins", "new", "fundus", "--kind", "reader", "--out", "ours"],
        "run": ["run", str(train), "--out", "run"],
        "segment": ["segment", "run/package", str(scan), "--out", "batch"],
    }


def check_what_was_made(place: Path) -> None:
    for made in ("begun.yaml", "hippocampus_mr.yaml", "ours", "run/package/model.safetensors", "batch/report.html"):
        assert (place / made).exists(), made
    assert list((place / "batch").glob("*/mask.nii.gz"))


def test_what_is_installed_from_it_does_the_whole_job(wheel, builtin_entries, tmp_path) -> None:
    pytest.importorskip("pip", reason="pip installs the wheel")
    target, place = tmp_path / "installed", tmp_path / "place"
    place.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target"]
    subprocess.run([*pip, str(target), str(wheel)], check=True, capture_output=True, text=True)
    calls = job(place)
    words = json.dumps([str(target), str(ROOT), list(calls.values())])
    environment = {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, words], cwd=place, env=environment, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    said = dict(zip(calls, answer["said"], strict=True))
    assert not [name for name, (code, _) in said.items() if code], said
    assert answer["strangers"] == []
    theirs = {entry.name: source_hash(entry.value, "voxgraft") for entry in builtin_entries}
    assert {name.partition(":")[2]: code for name, code in answer["code"].items()} == theirs  # models know no layout
    assert answer["version"] in said["version"][1]
    assert "dicom-seg" in said["plugins"][1] and "hippocampus_mr" in said["shipped"][1]
    check_what_was_made(place)


def test_a_fresh_environment_with_nothing_but_the_wheel_does_the_whole_job(tmp_path) -> None:
    """What a plain installation holds is enough, MLflow's client and its registry in SQLite included."""
    if FRESH is None:
        pytest.skip("VOXGRAFT_FRESH names no environment that holds the wheel alone; .ci/run makes one")
    calls = job(tmp_path) | {
        "listed": ["models", "list"],
        "by name": ["segment", "models:/boxes/1", "labelled/imagesTr/box_001.nii.gz", "--out", "named"],
        "exported": ["models", "export", "boxes/1", "boxes.zip"],
    }
    written = tmp_path / "workflow.yaml"
    written.write_text(written.read_text().replace("evaluate]", "evaluate, register]"))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"
    for name, words in calls.items():
        call = [str(Path(FRESH) / "bin" / "voxgraft"), *words]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
    check_what_was_made(tmp_path)
    assert list((tmp_path / "named").glob("*/mask.nii.gz")) and (tmp_path / "boxes.zip").exists()


def test_the_version_is_that_of_the_metadata() -> None:
    assert voxgraft.__version__ == version("voxgraft")
