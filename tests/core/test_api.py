"""`import voxgraft as vg`: the names are functions and classes, whatever has been imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import boxes, workflow

import voxgraft as vg

MODULES = (
    "voxgraft.api voxgraft.imaging.read voxgraft.discovery voxgraft.scoring.paths voxgraft.batch.segment voxgraft.cli"
)


def test_no_module_hides_a_public_name(repo_path) -> None:
    """A submodule of the same name would take a function's place as soon as it is imported."""
    code = (
        "import importlib, voxgraft as vg\n"
        f"for name in {MODULES!r}.split(): importlib.import_module(name)\n"
        "print(*[name for name in vg.__all__ if not callable(getattr(vg, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=repo_path, check=True)
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    path = workflow(folder, boxes(folder / "data"))
    text = path.read_text()
    start = text.index("tracking:")
    path.write_text(text[:start] + "tracking: null\n" + text[text.index("registry:") :])
    return vg.run(path, out=folder / "run", training__budget="40 steps")


def test_a_workflow_is_run_and_its_model_segments(run, tmp_path) -> None:
    assert run.workflow.training.budget.amount == 40
    scans = sorted((run.folder.parent / "data" / "imagesTr").glob("*.nii.gz"))[:2]
    batch = vg.segment(run.package, scans, tmp_path / "batch")
    document = batch.document()
    assert (document["done"], document["failed"]) == (2, 0)
    mask = vg.read(tmp_path / "batch" / document["scans"][0]["case"] / "mask.nii.gz")
    scan = vg.read(scans[0])
    assert mask.shape == scan.shape and np.allclose(mask.affine, scan.affine)


def test_masks_are_scored(run, tmp_path) -> None:
    label = run.folder.parent / "data" / "labelsTr" / "box_000.nii.gz"
    scores = vg.evaluate(label, label, ["dice", "hd95"])
    (case,) = scores.cases.values()
    assert case["dice"]["mean"] == 1.0 and case["hd95"]["mean"] == 0.0


def test_what_is_wrong_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(vg.VoxGraftError, match="there is no such"):
        vg.read(tmp_path / "absent.nii.gz")
    with pytest.raises(vg.VoxGraftError, match="there is no such workflow"):
        vg.run(tmp_path / "absent.yaml")


def test_the_catalogue_and_volumes() -> None:
    assert vg.catalogue().get("decoder", "unet").name == "unet"
    volume = vg.Volume(np.zeros((2, 3, 4, 5)), np.diag([2.0, 3.0, 4.0, 1.0]))
    assert volume.channels == 2 and volume.shape == (3, 4, 5) and volume.spacing == (2.0, 3.0, 4.0)
    assert volume.voxel_ml == pytest.approx(0.024)
    for affine in (np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4))):
        with pytest.raises(ValueError, match="affine"):
            vg.Volume(np.zeros((3, 4, 5)), affine)
    with pytest.raises(ValueError, match="no volume of"):
        vg.Volume(np.zeros(3), np.eye(4))
