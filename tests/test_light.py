"""Commands that need no network begin without torch and MLflow, whose import alone takes longer than they do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

HEAVY = ("torch", "mlflow", "monai", "timm", "ray", "sqlalchemy")
WORKFLOW = """\
voxgraft: 1
name: boxes
data: {{layout: {{use: pairs, path: {folder}}}, modality: mr, labels: {{box: 1}}, split: {{folds: 2, fold: 0}}}}
model: {{dims: 3, encoder: {{use: residual, weights: none, width: 8}}, decoder: {{use: unet}}}}
training: {{budget: 4 steps}}
tracking: null
registry: null
"""
CODE = f"""
import atexit, sys
atexit.register(lambda: print("entered", *[name for name in {HEAVY!r} if name in sys.modules]))
from voxgraft.cli import main
main(sys.argv[1:], prog_name="voxgraft")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scans with masks and a workflow."""
    folder = tmp_path_factory.mktemp("light")
    generator = np.random.default_rng(3)
    for part in ("images", "labels"):
        (folder / "data" / part).mkdir(parents=True)
    for index in range(4):
        mask = np.zeros((16, 16, 16), np.uint8)
        mask[4 : 9 + index, 5:11, 6:12] = 1
        image = (generator.normal(100, 20, mask.shape) + 150 * mask).astype(np.int16)
        for part, array in (("images", image), ("labels", mask)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "data" / part / f"box_{index}.nii.gz")
    (folder / "w.yaml").write_text(WORKFLOW.format(folder=folder / "data"))
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "inspect {folder}/data/images/box_0.nii.gz",
        "check {folder}/w.yaml",
        "run {folder}/w.yaml --out {folder}/run --set steps=[check,plan,prepare]",
        "plugins list",
        "schema",
        "evaluate {folder}/data/labels {folder}/data/labels",
    ],
    ids=lambda words: words.partition(" ")[0],
)
def test_no_network_is_imported(words: str, folder: Path, repo_path: dict[str, str]) -> None:
    call = [sys.executable, "-c", CODE, *words.format(folder=folder).split()]
    done = subprocess.run(call, capture_output=True, text=True, env=repo_path, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["entered"], done.stdout[-300:] + done.stderr
