"""What tests of the conformance checks share: the subject of a check, and that a fault is caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dicom_series import make_series
from layout_folders import touch
from voxgraft.components.catalogue import Catalogue
from voxgraft.testing import Subject, run_checks


def decathlon(folder: Path) -> None:
    touch(folder, *(f"{part}/c_{n}.nii.gz" for part in ("imagesTr", "labelsTr") for n in (1, 2)))
    rows = [{"image": f"./imagesTr/c_{n}.nii.gz", "label": f"./labelsTr/c_{n}.nii.gz"} for n in (1, 2)]
    document = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "box"}, "training": rows}
    (folder / "dataset.json").write_text(json.dumps(document))


def nnunet(folder: Path) -> None:
    touch(folder, "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    document = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({**document, "numTraining": 2}))


def bids(folder: Path) -> None:
    for subject in ("sub-01", "sub-02"):
        touch(folder, f"{subject}/anat/{subject}_T1w.nii.gz")
        touch(folder, f"derivatives/manual/{subject}/anat/{subject}_desc-lesion_mask.nii.gz")


def table(folder: Path) -> None:
    touch(folder, *(f"{part}/{name}.nii.gz" for part in ("scans", "masks") for name in "ab"))
    lines = [f"{name},scans/{name}.nii.gz,masks/{name}.nii.gz,p{name}" for name in "ab"]
    (folder / "cases.csv").write_text("\n".join(["case,image,label,patient", *lines]))


def pairs(folder: Path) -> None:
    touch(folder, *(f"{part}/{name}.nii.gz" for part in ("images", "labels") for name in "ab"))


def dicom(folder: Path) -> None:
    for number in range(2):
        make_series(folder / str(number), np.full((8, 6, 5), number, np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))


FOLDERS: dict[str, Callable[[Path], None]] = {
    "decathlon": decathlon,
    "nnunet": nnunet,
    "bids": bids,
    "csv": table,
    "pairs": pairs,
    "dicom": dicom,
}
MORE: dict[tuple[str, str], dict[str, Any]] = {
    ("layout", "dicom"): {"unlabelled": "keep", "patient": "folder"},
    ("strategy", "distil"): {"teacher": "models:/other@champion"},
    ("store", "mlflow"): {"create": True},
}


def subject_of(kind: str, name: str, catalogue: Catalogue, folder: Path) -> Subject:
    options, sections = dict(MORE.get((kind, name), {})), {}
    uri = f"sqlite:///{(folder / 'tracking.db').as_posix()}"
    if kind == "layout":
        FOLDERS[name](folder / "data")
        options["path"] = folder / "data" / "cases.csv" if name == "csv" else folder / "data"
    if name == "mlflow":
        options["uri"] = uri
    if name == "register":
        sections = {"registry": {"name": "boxes"}, "tracking": {"use": "mlflow", "uri": uri}}
    if name == "guard":
        sections = {"guard": "twin", "transfer": ["init"]}
    return Subject.of(kind, name, options=options, catalogue=catalogue, sections=sections)


def caught(subject: Subject, build: Callable[[Any], Any], folder: Path, check: str, **spec: Any) -> None:
    """Exactly the checks in whose text the words stand must fail, one at least."""
    changed = replace(subject.spec, build=build, **spec)
    outcomes = run_checks(replace(subject, chosen=replace(subject.chosen, component=changed)), folder)
    assert [one.check for one in outcomes if one.state == "failed" and check in one.check], outcomes
