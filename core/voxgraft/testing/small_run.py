"""A run of a second on four boxes, in which steps and trackers are tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import VoxGraftError
from ..imaging.volume import Volume
from ..imaging.write import write
from ..runs.engine import run_workflow
from ..runs.run import Run
from ..support.progress import Progress
from ..workflow.workflow import Workflow, from_document
from .conformance import NotApplicable, Subject


def small_workflow(subject: Subject, folder: Path, steps: Sequence[str], **sections: Any) -> Workflow:
    """A workflow of those steps on data that is made here; the subject's own sections come last.

    Args:
        subject: The component under test; its catalogue reads the data.
        folder: Where the data are made.
        steps: The names of the workflow's steps.
        sections: Other sections of the workflow, by their names.

    Raises:
        NotApplicable: It is refused, such as for a section that the component needs.
    """
    document: dict[str, Any] = {
        "voxgraft": 1,
        "name": "conformance",
        "data": {
            "layout": {"use": "pairs", "path": _boxes(subject, folder / "data").as_posix()},
            "modality": "mr",
            "labels": {"box": 1},
            "split": {"folds": 2},
        },
        "model": {"dims": 3, "encoder": "residual", "decoder": "unet"},
        "training": {"budget": "2 steps", "patch": [16, 16, 16], "device": "cpu"},
        "evaluation": {"metrics": ["dice"]},
        "tracking": None,
        "steps": list(steps),
        **sections,
        **subject.sections,
    }
    try:
        return from_document(document, subject.catalogue)
    except VoxGraftError as error:
        raise NotApplicable(f"no small workflow takes it: {error}") from None


def small_run(subject: Subject, folder: Path, workflow: Workflow) -> Run:
    """The workflow's steps, done in `folder / "run"`.

    Args:
        subject: The component under test, whose catalogue is used.
        folder: Holds the run's folder.
        workflow: See `small_workflow`.
    """
    return run_workflow(workflow, subject.catalogue, folder / "run", progress=Progress(quiet=True))


def _boxes(subject: Subject, folder: Path) -> Path:
    """Four noisy scans with a box each, as images/ and labels/."""
    dice = np.random.default_rng(1)
    for number in range(4):
        label = np.zeros((16, 16, 16), np.uint8)
        label[3 + number : 9 + number, 5:11, 5:11] = 1
        for name, array in (("images", dice.poisson(20 + 100 * label).astype(np.int16)), ("labels", label)):
            target = folder / name / f"c{number}.nii.gz"
            write(Volume(array, np.eye(4)), target, subject.catalogue, None, {}, writer="nifti")
    return folder
