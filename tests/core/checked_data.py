"""Data sets for the tests of the check: noisy balls of two structures, every one different, and ways to spoil them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

AFFINE = np.diag([-1.0, -1.0, 1.5, 1.0])
AFFINE[:3, 3] = [30, 40, -10]
SHAPE = (30, 28, 24)


def balls(folder: Path, cases: int = 12, patients: str = "P{:02d}") -> Path:
    """Write images/ and labels/ in pairs, one case a patient; no two images and no two masks are alike."""
    rng = np.random.default_rng(11)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    for index in range(cases):
        outer = np.linalg.norm(grid - (np.array(SHAPE) / 2 + rng.uniform(-2, 2, 3)), axis=-1)
        label = (outer + rng.normal(0, 0.02, SHAPE) < rng.uniform(6.5, 7.5)).astype(np.uint8)
        label[outer < rng.uniform(2.6, 3.1)] = 2
        image = (rng.normal(100, 20, SHAPE) + 150 * (label > 0)).astype(np.int16)
        name = f"{patients.format(index)}.nii.gz"
        save(folder / "images" / name, image)
        save(folder / "labels" / name, label)
    return folder


def as_decathlon(folder: Path, **labels: int) -> Path:
    """Name the structures of a folder of pairs in a dataset.json."""
    names = sorted(path.name for path in (folder / "images").iterdir())
    document = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", **{str(value): name for name, value in labels.items()}},
        "training": [{"image": f"./images/{name}", "label": f"./labels/{name}"} for name in names],
    }
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder


def save(path: Path, array: Any, affine: Any = AFFINE, **header: bytes) -> None:
    """Write a NIfTI file with nibabel, not with our own writer."""
    image = nib.Nifti1Image(array, affine)
    for field, text in header.items():
        image.header[field] = text
    nib.save(image, path)


def spoil(path: Path, change: Callable[[Any], Any] = lambda a: a, affine: Callable[[Any], Any] = lambda a: a) -> None:
    """Write a NIfTI file again with other voxels or another affine."""
    image = nib.load(path)
    save(path, change(np.asarray(image.dataobj)), affine(image.affine.copy()))
