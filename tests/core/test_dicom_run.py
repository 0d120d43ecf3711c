"""From a tree as a PACS dumps it to masks: trained on SEG, on RTSTRUCT, and on two channels of different grids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import workflow

from dicom_series import make_series
from dicom_structures import make_rtstruct, make_seg
from voxgraft.batch.segment import segment
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.read import read as read_image
from voxgraft.imaging.volume import Align
from voxgraft.packages.package import read_package
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

SHAPE = (20, 18, 16)
FINE = np.array([[-1.0, 0, 0, 30], [0, -1.0, 0, 40], [0, 0, 1.5, -10], [0, 0, 0, 1]])
COARSE = np.array([[-2.0, 0, 0, 29.5], [0, -2.0, 0, 39.5], [0, 0, 3.0, -9.25], [0, 0, 0, 1]])
LAYOUTS = {
    "seg": "{{use: dicom, path: {tree}, description: T1, labels: {{source: seg, names: {{box: 'BOX*'}}}}}}",
    "rtstruct": "{{use: dicom, path: {tree}, description: T1, labels: {{source: rtstruct, names: {{box: 'BOX*'}}}}}}",
    "channels": "{{use: dicom, path: {tree}, channels: {{anatomy: {{description: T1}}, dark: {{description: FLAIR}}}}, "
    "labels: {{source: auto, names: {{box: 'BOX*'}}}}}}",
}


def tree(folder: Path, studies: int = 5) -> Path:
    """Studies of a T1, a coarser FLAIR and a scout, with SEG and RTSTRUCT objects, every file in one folder."""
    dice = np.random.default_rng(3)
    for number in range(studies):
        start = dice.integers(3, 7, 3)
        box = tuple(slice(int(one), int(one) + 6) for one in start)
        label = np.zeros(SHAPE, bool)
        label[box] = True
        t1 = (dice.normal(100, 20, SHAPE) + 150 * label).astype(np.int16)
        flair = dice.normal(100, 20, (10, 9, 8)).astype(np.int16)
        same: dict[str, Any] = {
            "Modality": "MR",
            "PatientID": f"MRN-{number}",
            "PatientSex": "FM"[number % 2],
            "StudyInstanceUID": f"1.2.{number + 1}",
            "FrameOfReferenceUID": f"1.3.{number + 1}",
        }
        for place, (name, array, affine) in enumerate(
            [("T1", t1, FINE), ("FLAIR", flair, COARSE), ("scout", flair[:, :, :2], COARSE)]
        ):
            files = make_series(
                folder,
                array,
                affine,
                name=f"{number}{place}{{:03d}}",
                SeriesDescription=name,
                SeriesInstanceUID=f"1.2.{number + 1}.{place + 1}",
                **same,
            )
            if name == "T1":
                make_seg(folder / f"s{number}", files, {"Box by hand": label})
                make_rtstruct(
                    folder / f"r{number}", files, {"BOX": box, "BODY": (slice(0, 20), slice(0, 18), slice(0, 16))}
                )
    return folder


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("pacs") / "dump")


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_dump_becomes_a_model_that_segments_it(tmp_path: Path, dump: Path, catalogue: Catalogue, kind: str) -> None:
    layout = LAYOUTS[kind].format(tree=dump)
    changes = {f"{{use: decathlon, path: {dump}}}": layout, "budget: 12 steps": "budget: 4 steps"}
    path = workflow(tmp_path, dump, **changes)
    checked = read(path, catalogue, ["tracking=null"])
    run = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    assert len(run.dataset.cases) == 5 and all(case.label for case in run.dataset.cases)
    assert len({case.patient for case in run.dataset.cases}) == 5
    package = read_package(run.package)
    assert package.plan.labels == ((1, "box"),)
    measured = json.loads((run.folder / "fingerprint.json").read_text())["cases"]
    assert all(case["labels"]["1"] == 216 and case["shape"] == list(SHAPE) for case in measured.values())
    scores = json.loads((run.folder / "evaluate" / "scores.json").read_text())
    assert set(scores["cases"]) == set(run.split.validation)
    if kind == "channels":
        assert package.plan.channels == ("anatomy", "dark") and package.plan.align == Align(0, "frame")
        assert package.labels.items[0].code == ("10200001", "SCT", "Structure 1")
    batch = segment(package, [dump], tmp_path / "out", catalogue=catalogue, writers=["nifti"], device="cpu")
    done = [scan for scan in batch.scans if scan.state == "done"]
    assert len(done) == 5 and not [scan for scan in batch.scans if scan.state == "failed"], batch.scans
    for scan in done:
        mask = read_image(tmp_path / "out" / scan.case / "mask.nii.gz", catalogue)
        assert mask.shape == SHAPE and np.allclose(mask.affine, FINE, atol=1e-4)
    text = "".join(file.read_text(errors="ignore") for file in run.folder.rglob("*.json"))
    assert "MRN-" not in text and "Test^Case" not in text


def test_check_says_what_is_used_and_what_is_not(dump: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(dump), "--json"])
    document = json.loads(result.stdout)
    said = " ".join(problem["message"] for problem in document["problems"])
    assert document["cases"] == 15 and "5 patients, 5 studies, 25 series: 15 MR, 5 RTSTRUCT, 5 SEG" in said
    assert "the SEG are taken" in said and "MRN-" not in said and "Test^Case" not in said
