"""Studies and calls for the tests of worklists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from batch_scans import AFFINE, SHAPE, ball, model

from dicom_series import make_series
from voxgraft.batch.entry import Entry, with_ids
from voxgraft.batch.worklist import Finder, check_inputs
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.volume import Item
from voxgraft.preprocessing.plan import Plan

COARSE = np.diag([-1.0, 1.0, 6.0, 1.0])


def plan_of(tmp_path: Path, **changes: Any) -> Plan:
    return model(tmp_path / "model", **changes).plan


def found(tmp_path: Path, catalogue: Catalogue, *inputs: Path, plan: Plan | None = None, **options: Any) -> list[Entry]:
    finder = Finder(catalogue, plan or plan_of(tmp_path), tmp_path / "out", **options)
    check_inputs(inputs, finder.plan, finder.out)
    return with_ids(finder.find(inputs), {})


def states(entries: list[Entry]) -> dict[str, str]:
    return {entry.case: entry.state for entry in entries}


def item(affine: Any = AFFINE, shape: tuple[int, ...] = SHAPE, **changes: Any) -> Item:
    return Item(Path("x.nii.gz"), "nifti", shape, np.asarray(affine, float), **changes)


def study(folder: Path, name: str, patient: str = "P1") -> Path:
    """A study of three series: one that fits the model, one far too coarse, one that is CT."""
    same = {"StudyInstanceUID": f"1.2.{sum(map(ord, name))}", "PatientID": patient}
    uid = f"1.3.{sum(map(ord, name))}"
    root = folder / name
    make_series(
        root / "s1", ball(), AFFINE, Modality="MR", SeriesDescription="T1", SeriesInstanceUID=f"{uid}.1", **same
    )
    thick = ball((26, 24, 6))
    make_series(
        root / "s2", thick, COARSE, Modality="MR", SeriesDescription="FLAIR", SeriesInstanceUID=f"{uid}.2", **same
    )
    make_series(
        root / "s3", ball(), AFFINE, Modality="CT", SeriesDescription="CT", SeriesInstanceUID=f"{uid}.3", **same
    )
    return root
