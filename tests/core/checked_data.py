"""Data sets for the tests of the check: noisy balls of two structures, every one different, and ways to spoil them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from datasets import workflow

from voxgraft.checks.dataset import check_dataset, check_path
from voxgraft.checks.problem import CaseProblem
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.dataset import find_dataset
from voxgraft.workflow.workflow import Workflow, read

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


CASE = "P03"

Found = set[tuple[str, str, str | None]]


def image(folder: Path, case: str = CASE) -> Path:
    return folder / "images" / f"{case}.nii.gz"


def label(folder: Path, case: str = CASE) -> Path:
    return folder / "labels" / f"{case}.nii.gz"


def told(folder: Path, catalogue: Catalogue) -> list[CaseProblem]:
    """Everything that is said of a folder, but that nothing tells the patients apart."""
    _, findings = check_path(folder, catalogue)
    assert not any(str(folder) in problem.message for problem in findings.problems)
    return [problem for problem in findings.problems if problem.code != "no-patients"]


def found(problems: list[CaseProblem]) -> Found:
    return {(one.code, one.severity, one.case) for one in problems}


def flow(folder: Path, data: Path, catalogue: Catalogue, **changes: str) -> Workflow:
    return read(workflow(folder, data, **changes), catalogue)


def judged(checked: Workflow, catalogue: Catalogue, **changes: Any) -> list[CaseProblem]:
    dataset = replace(find_dataset(checked.data, catalogue), **changes)
    problems = check_dataset(dataset, catalogue, checked).problems
    return [problem for problem in problems if problem.code != "no-patients"]


def moved(*shift: float) -> Callable[[Any], Any]:
    return lambda affine: affine + np.pad(np.array([shift]).T, ((0, 1), (3, 0)))


def strays(number: int) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.copy()
        array[2:26:2, 2, 2][:number] = 1
        return array

    return change
