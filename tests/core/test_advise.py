"""Advice ends within its minutes, and says no evidence where there is none."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from datasets import boxes, workflow

from voxgraft.advise.probe import probe_dice
from voxgraft.cli import main

MINUTES = 0.3


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """Images that know nothing of their masks."""
    folder = boxes(tmp_path_factory.mktemp("data") / "noise", cases=9)
    rng = np.random.default_rng(0)
    for path in (folder / "imagesTr").glob("*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(rng.normal(100, 20, image.shape).astype(np.int16), image.affine), path)
    return folder


def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(0)
    classes = [rng.integers(0, 2, 100) for _ in range(5)]
    plain = [rng.normal(size=(100, 4)) for _ in classes]
    told = [x + 6 * c[:, None] for x, c in zip(plain, classes, strict=True)]
    assert min(probe_dice(told, classes)) > 0.98
    assert np.mean(probe_dice(plain, classes)) < 0.75  # 0.67 is what calling every voxel a structure gives


def test_advice_on_noise_is_no_evidence_and_comes_in_time(tmp_path, noise) -> None:
    path = workflow(tmp_path, noise)
    start = time.monotonic()
    arguments = ["advise", str(path), "--minutes", str(MINUTES), "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert time.monotonic() - start < 60 * MINUTES, result.stderr
    found = json.loads(result.stdout)
    assert found["verdict"] == "no evidence" and "no evidence" in found["advice"]
    assert all(row["verdict"] != "better than random" for row in found["probes"])
    assert "no evidence" in (tmp_path / "out" / "advice.html").read_text()
    assert (
        CliRunner().invoke(main, ["run", str(tmp_path / "out" / "workflow.yaml"), "--steps", "nothing"]).exit_code == 2
    )
