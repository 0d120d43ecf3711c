"""A small Decathlon data set for tests: bright boxes in noise, written with nibabel, not with our own writer."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

WORKFLOW = """\
voxgraft: 1
name: boxes
data:
  layout: {{use: decathlon, path: {data}}}
  modality: mr
  split: {{folds: 3, fold: 0, seed: 7}}
model:
  dims: 3
  encoder: {{use: residual, weights: none, width: 8}}
  decoder: {{use: unet}}
transfer: []
training: {{budget: 12 steps, batch: 2, patch: [16, 16, 16], device: cpu, validate_every: 0.5}}
evaluation: {{metrics: [dice, iou]}}
tracking: {{uri: "sqlite:///{folder}/mlflow.db", experiment: boxes}}
registry: {{name: boxes, promote: if-not-worse}}
steps: {steps}
"""


def boxes(folder: Path, cases: int = 6, shape: tuple[int, int, int] = (20, 18, 16)) -> Path:
    """Write the data set; axes run left, posterior, superior, so that reorientation has something to do."""
    rng = np.random.default_rng(3)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    affine = np.diag([-1.0, -1.0, 1.5, 1.0])
    affine[:3, 3] = [30, 40, -10]
    training = []
    for index in range(cases):
        label = np.zeros(shape, np.uint8)
        start = rng.integers(3, 7, 3)
        label[tuple(slice(int(s), int(s) + 6) for s in start)] = 1
        image = (rng.normal(100, 20, shape) + 150 * label).astype(np.int16)
        name = f"box_{index:03d}.nii.gz"
        nib.save(nib.Nifti1Image(image, affine), folder / "imagesTr" / name)
        nib.save(nib.Nifti1Image(label, affine), folder / "labelsTr" / name)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    document = {
        "name": "boxes",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "box"},
        "training": training,
    }
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder


def workflow(folder: Path, data: Path, steps: str = "[check, plan, prepare, train, evaluate]", **changes: str) -> Path:
    """Write a workflow file; `changes` replace texts in it."""
    text = WORKFLOW.format(data=data, folder=folder, steps=steps)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "workflow.yaml"
    path.write_text(text)
    return path
