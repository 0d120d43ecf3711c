"""Cases of a DICOM tree can be traced to folder and series, in a file that only its owner reads and nowhere else."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import workflow

from dicom_series import make_series
from dicom_structures import make_seg
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.cases import Case, Dataset, is_traced
from voxgraft.imaging.volume import ImageRef
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

SHAPE = (20, 18, 16)
AFFINE = np.array([[-1.0, 0, 0, 30], [0, -1.0, 0, 40], [0, 0, 1.5, -10], [0, 0, 0, 1]])
SECRETS = ("Doe^Jane", "Station West", "T1 for Mr Smith")
"""A patient's folder, the folder above, and a description that a technician typed."""
LAYOUT = "{{use: dicom, path: '{tree}', labels: {{source: seg, names: {{box: 'BOX*'}}}}}}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pacs") / "dump"
    dice = np.random.default_rng(3)
    for number in range(4):
        label = np.zeros(SHAPE, bool)
        label[4 + number : 10 + number, 4:10, 4:10] = True
        folder = root / SECRETS[1] / f"{SECRETS[0]} {number}"
        uids = {"StudyInstanceUID": f"1.2.{number + 1}", "SeriesInstanceUID": f"1.2.{number + 1}.1"}
        more = {"FrameOfReferenceUID": f"1.3.{number + 1}", "PatientID": f"MRN-{number}", "Modality": "MR"}
        array = (dice.normal(100, 20, SHAPE) + 150 * label).astype(np.int16)
        files = make_series(folder, array, AFFINE, SeriesDescription=SECRETS[2], **uids, **more)
        make_seg(folder / "seg", files, {"Box by hand": label})
    return root


def listed(path: Path) -> list[dict[str, str]]:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4
    for row in rows:
        assert SECRETS[0] in row["place"] and row["description"] == SECRETS[2] and row["series"].startswith("1.2.")
        assert not any(secret in row["case"] + row["patient"] for secret in SECRETS)
    return rows


@pytest.mark.parametrize("kind", ["folder", "workflow"])
def test_check_leaves_a_list_for_its_owner(tmp_path, tree, monkeypatch, kind) -> None:
    monkeypatch.chdir(tmp_path)
    layout = LAYOUT.format(tree=tree)
    path = workflow(tmp_path, tree, **{f"{{use: decathlon, path: {tree}}}": layout})
    target, file = (tree, "voxgraft-cases.csv") if kind == "folder" else (path, "runs/boxes/cases.csv")
    shown = CliRunner().invoke(main, ["check", str(target)])
    assert file in shown.stdout and not any(secret in shown.stdout for secret in SECRETS[::2])
    names = {row["case"] for row in listed(tmp_path / file)}
    document = json.loads(CliRunner().invoke(main, ["check", str(target), "--json"]).stdout)
    assert document["list"] == file and not any(secret in json.dumps(document) for secret in SECRETS)
    assert {problem["case"] for problem in document["problems"]} - {None} <= names


def test_a_run_keeps_the_list_to_itself(tmp_path: Path, tree: Path, catalogue: Catalogue) -> None:
    """The parts of the split stand in it; nothing else of the run, of its package or of MLflow holds any of it."""
    layout = LAYOUT.format(tree=tree)
    steps = "[check, plan, prepare, train, evaluate, register]"
    changes = {f"{{use: decathlon, path: {tree}}}": layout, "12 steps": "2 steps"}
    said: list[str] = []
    progress = Progress(quiet=True)
    progress.say = said.append  # type: ignore[method-assign]
    run = run_workflow(
        read(workflow(tmp_path, tree, steps, **changes), catalogue), catalogue, tmp_path / "run", progress=progress
    )
    rows = listed(run.folder / "cases.csv")
    assert sorted({row["part"] for row in rows}) == ["train", "validation"]
    assert any("cases.csv" in line for line in said) and not any(secret in " ".join(said) for secret in SECRETS)
    seen = [path for path in tmp_path.rglob("*") if path.is_file() and path != run.folder / "cases.csv"]
    assert any(path.name == "mlflow.db" for path in seen) and any("package" in path.parts for path in seen)
    for path in seen:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS), path
        assert path.name != "cases.csv"


def test_files_with_names_of_their_own_need_no_list(tmp_path: Path) -> None:
    assert not is_traced(Dataset((Case("a", "a", (ImageRef(tmp_path / "a.nii.gz"),)),)))
