"""A plugin in a project of its own, installed with pip: found, listed, used, recorded; broken, set aside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
WORKFLOW = """\
voxgraft: 1
name: lab
data:
  layout: {{use: pairs, path: {data}}}
  modality: {{use: micro, offset: 2.0}}
  labels: {{box: 1}}
  split: {{folds: 2, fold: 0, seed: 7}}
model:
  dims: 3
  encoder: {{use: residual, width: 8}}
  decoder: {{use: unet}}
training: {{budget: 4 steps, patch: [16, 16, 16], device: cpu}}
evaluation: {{metrics: [dice]}}
tracking: null
steps: [check, plan, prepare, train, evaluate]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory, repo_path) -> dict[str, str]:
    """An environment in which the example plugin is installed by pip, into a folder of its own."""
    scratch = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(HERE / "voxgraft-rawgrid", scratch / "source")
    site = scratch / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(site), str(source)], check=True, capture_output=True)
    return {**repo_path, "PYTHONPATH": os.pathsep.join([str(site), repo_path["PYTHONPATH"]])}


Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def voxgraft(warm_python: list[str]) -> Call:
    """Calls the command in an environment."""

    def call(environment: dict[str, str], *args: object) -> subprocess.CompletedProcess[str]:
        command = [*warm_python, "-m", "voxgraft", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)

    return call


def rawgrid(path: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Write the laboratory's format without the plugin's own code."""
    import struct

    head = struct.pack("<8s3I3d", b"RAWGRID1", *array.shape, *spacing)
    path.write_bytes(head + array.astype("<u2").tobytes(order="F"))


def data_set(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(4):
        label = np.zeros((18, 17, 16), np.uint16)
        label[4 + index : 10 + index, 5:11, 5:11] = 1
        image = rng.poisson(20 + 200 * label)
        rawgrid(folder / "images" / f"scan{index}.rawgrid", image, (0.5, 0.5, 0.8))
        rawgrid(folder / "labels" / f"scan{index}.rawgrid", label, (0.5, 0.5, 0.8))
    return folder


def test_it_is_found_and_listed_as_any_other(installed, voxgraft) -> None:
    document = json.loads(voxgraft(installed, "plugins", "list", "--json").stdout)
    mine = {(c["kind"], c["name"]): c for c in document["components"] if c["distribution"] == "voxgraft-rawgrid"}
    assert set(mine) == {("reader", "rawgrid"), ("modality", "micro")}
    assert mine["reader", "rawgrid"]["version"] == "0.3.1" and document["failures"] == []
    assert "offset" in voxgraft(installed, "plugins", "show", "micro").stdout


def test_it_is_used_by_a_workflow_and_recorded_with_the_run(installed, voxgraft, tmp_path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(WORKFLOW.format(data=data_set(tmp_path / "data")))
    done = voxgraft(installed, "run", path, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["spacing"] == [0.5, 0.5, 0.8] and plan["modality"] == "micro"
    assert plan["normalisation"][0]["centre"] == pytest.approx(np.log(222), abs=0.2)  # foreground counts near 220
    manifest = json.loads((tmp_path / "run" / "package" / "manifest.json").read_text())
    (used,) = [one for name, one in manifest["facts"]["plugins"].items() if "rawgrid" in name]
    assert used["distribution"] == "voxgraft-rawgrid" and used["version"] == "0.3.1" and len(used["sha256"]) == 64


def test_its_reader_answers_bad_files_in_a_sentence(installed, voxgraft, tmp_path) -> None:
    data_set(tmp_path)
    victim = tmp_path / "images" / "scan0.rawgrid"
    victim.write_bytes(victim.read_bytes()[:-100])
    done = voxgraft(installed, "convert", victim, tmp_path / "o.nii.gz")
    assert done.returncode == 1 and "not as long as its header says" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "o.nii.gz").exists()


@pytest.mark.parametrize("fault", ["import no_such_module", "raise SystemExit(1)", "def voxgraft_readers(:"])
def test_broken_it_is_set_aside_and_the_rest_works(installed, voxgraft, tmp_path, fault) -> None:
    site = Path(installed["PYTHONPATH"].split(os.pathsep)[0])
    broken = shutil.copytree(site, tmp_path / "site")
    (broken / "voxgraft_rawgrid" / "__init__.py").write_text(fault)
    rest = installed["PYTHONPATH"].split(os.pathsep)[1:]
    environment = {**installed, "PYTHONPATH": os.pathsep.join([str(broken), *rest])}
    done = voxgraft(environment, "plugins", "list", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0 and len(document["components"]) > 20
    assert [failure["plugin"] for failure in document["failures"]] == ["voxgraft-rawgrid:rawgrid"]
    path = tmp_path / "lab.yaml"
    path.write_text(WORKFLOW.format(data=data_set(tmp_path / "data")))
    used = voxgraft(environment, "run", path, "--dry-run")
    assert used.returncode == 2 and "'micro'" in used.stderr and "was set aside" in used.stderr
    assert "Traceback" not in used.stderr
