"""Optional channels and several raters, from the layout to the trained network and to a batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from voxgraft.batch.segment import segment
from voxgraft.datasets.dataset import find_dataset
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.channels import stack_channels
from voxgraft.imaging.read import read
from voxgraft.imaging.volume import MaskRef, Volume
from voxgraft.inference.predictor import Predictor
from voxgraft.packages.package import read_package
from voxgraft.preprocessing.prepare import load_prepared
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import Workflow
from voxgraft.workflow.workflow import read as read_workflow

FLOW = """\
voxgraft: 1
name: channels
data:
  layout: {{use: pairs, path: {data}, images: {images}, labels: "{labels}"}}
  modality: mr
  labels: {{box: 1}}
  split: {{folds: 2, fold: 0, seed: 7}}
{more}
model:
  encoder: {{use: residual, weights: none, width: 8}}
  decoder: unet
training: {{budget: 40 steps, batch: 2, patch: [16, 16, 16], device: cpu, augment: 0, optimiser: {{lr: 0.01}}}}
tracking: null
steps: [plan, prepare, train, evaluate]
"""
BOTH = "{t1: 'img/{case}_t1.nii', flair: 'img/{case}_flair.nii'}"

pytestmark = pytest.mark.usefixtures("one_thread")


def made(folder: Path, cases: int = 4) -> Path:
    """Boxes, bright in both channels; the last cases have no flair. Two raters, of whom one always draws too much."""
    rng = np.random.default_rng(2)
    for part in ("img", "seg/good", "seg/wide", "seg/fair"):
        (folder / part).mkdir(parents=True)
    for index in range(cases):
        label = np.zeros((16, 16, 16), np.uint8)
        box = tuple(slice(int(start), int(start) + 7) for start in rng.integers(2, 7, 3))
        label[box] = 1
        for name in ("t1", "flair")[: 2 if index < cases // 2 else 1]:
            image = (rng.normal(50, 8, label.shape) + 90 * label).astype(np.int16)
            nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "img" / f"c{index}_{name}.nii")
        wide = label.copy()
        wide[:2] = 1
        for rater, mask in (("good", label), ("wide", wide), ("fair", label)):
            nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / "seg" / rater / f"c{index}.nii")
    return folder


def flow(
    tmp_path: Path, catalogue: Any, images: str = BOTH, labels: str = "seg/good/{case}.nii", more: str = ""
) -> Workflow:
    text = FLOW.format(data=tmp_path / "data", images=images, labels=labels, more=more)
    (tmp_path / "workflow.yaml").write_text(text)
    return read_workflow(tmp_path / "workflow.yaml", catalogue)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, catalogue: Any) -> Path:
    """A run on four cases, of which two lack a channel."""
    folder = tmp_path_factory.mktemp("optional")
    made(folder / "data")
    chosen = flow(folder, catalogue, more="  channels: {flair: optional}")
    run_workflow(chosen, catalogue, folder / "run", progress=Progress(quiet=True))
    return folder


def test_cases_without_an_optional_channel_are_trained_on_as_zeros(trained: Path) -> None:
    fingerprint = json.loads((trained / "run" / "fingerprint.json").read_text())["cases"]
    assert {name: case.get("missing") for name, case in fingerprint.items()} == {
        "c0": None,
        "c1": None,
        "c2": [1],
        "c3": [1],
    }
    folders = json.loads((trained / "run" / "prepared.json").read_text())["folders"]
    images = {name: np.array(load_prepared(name, trained / "run" / "cache" / folders[name]).image) for name in folders}
    assert all(image.shape[0] == 2 and image[0].std() > 0.5 for image in images.values())
    assert (images["c3"][1] == 0).all() and images["c0"][1].std() > 0.5
    plan = json.loads((trained / "run" / "plan.json").read_text())
    assert plan["channels"] == ["t1", "flair"] and plan["optional"] == ["flair"]
    scores = json.loads((trained / "run" / "evaluate" / "scores.json").read_text())
    assert scores["summary"]["dice"]["box"]["mean"] > 0.7


def test_a_predictor_does_not_look_at_what_is_not_there(trained: Path, catalogue: Any) -> None:
    predictor = Predictor(read_package(trained / "run" / "package"), catalogue, device="cpu")
    t1 = read(trained / "data" / "img" / "c3_t1.nii", catalogue)
    without = predictor.predict(stack_channels([t1, None]), missing=[1])
    noise = t1.with_array(np.random.default_rng(0).normal(0, 900, t1.shape).astype(np.float32))
    assert np.array_equal(
        predictor.predict(stack_channels([t1, noise]), missing=[1]).labels.array, without.labels.array
    )
    truth = np.asarray(nib.load(trained / "data" / "seg" / "good" / "c3.nii").dataobj)
    dice = 2 * ((without.labels.array == 1) & (truth == 1)).sum() / ((without.labels.array == 1).sum() + truth.sum())
    assert dice > 0.7
    with pytest.raises(BadImage, match="lacks the channel t1, which the model needs"):
        predictor.predict(stack_channels([None, t1]), missing=[0])


def test_a_batch_takes_scans_without_the_optional_channel_and_says_so(
    trained: Path, tmp_path: Path, catalogue: Any
) -> None:
    source = trained / "data" / "img"
    for name in ("c0_t1.nii", "c0_flair.nii", "c3_t1.nii"):
        (tmp_path / "scans").mkdir(exist_ok=True)
        shutil.copy(source / name, tmp_path / "scans" / name)
    shutil.copytree(tmp_path / "scans", tmp_path / "bad")
    (tmp_path / "bad" / "c0_t1.nii").unlink()
    shutil.copy(source / "c2_t1.nii", tmp_path / "another.nii")
    (tmp_path / "list.csv").write_text("case,t1,flair\nlisted,another.nii,\n")
    package = trained / "run" / "package"
    done = segment(str(package), [tmp_path / "scans", tmp_path / "list.csv"], tmp_path / "out", catalogue)
    states = {scan.case: (scan.state, "missing-channel" in scan.flags) for scan in done.scans}
    assert states == {"c0": ("done", False), "c3": ("done", True), "listed": ("done", True)}
    report = json.loads((tmp_path / "out" / "c3" / "report.json").read_text())
    assert "the optional channel flair is missing" in [flag["message"] for flag in report["flags"]]
    bad = segment(str(package), [tmp_path / "bad"], tmp_path / "out2", catalogue)
    assert {scan.case: scan.state for scan in bad.scans} == {"c0": "failed", "c3": "done"}
    assert "the channel t1 is missing" in str(next(scan.error for scan in bad.scans if scan.state == "failed"))


def test_a_case_without_a_channel_is_refused_unless_it_is_optional(tmp_path: Path, catalogue: Any) -> None:
    made(tmp_path / "data")
    with pytest.raises(
        DataError, match=r"the channel 'flair' is missing in 2 cases, 'c2' for example; .*flair: optional"
    ):
        find_dataset(flow(tmp_path, catalogue).data, catalogue)
    assert find_dataset(flow(tmp_path, catalogue, more="  channels: {flair: optional}").data, catalogue).optional == (
        "flair",
    )


def test_channels_that_are_there_keep_their_place() -> None:
    one = Volume(np.ones((3, 4, 5), np.int16), np.eye(4))
    joined = stack_channels([None, one, None, one.with_array(one.array * 3)])
    assert joined.array.shape == (4, 3, 4, 5) and joined.array[:, 0, 0, 0].tolist() == [0, 1, 0, 3]
    with pytest.raises(DataError, match="all channels are missing"):
        stack_channels([None, None])


RATERS = "seg/{rater}/{case}.nii"


def test_several_raters_must_be_chosen_by_name(tmp_path: Path, catalogue: Any) -> None:
    made(tmp_path / "data")
    one = "'img/{case}_t1.nii'"
    with pytest.raises(DataError, match=r"several raters \(fair, good, wide\): set data\.raters"):
        find_dataset(flow(tmp_path, catalogue, one, RATERS).data, catalogue)
    with pytest.raises(DataError, match="no mask of the rater 'anna'"):
        find_dataset(flow(tmp_path, catalogue, one, RATERS, "  raters: anna").data, catalogue)
    chosen = find_dataset(flow(tmp_path, catalogue, one, RATERS, "  raters: wide").data, catalogue).cases[0].label
    assert chosen is not None and chosen.path.parent.name == "wide"


@pytest.mark.parametrize("rule", ["majority", "staple"])
def test_raters_masks_are_brought_together_for_training(tmp_path: Path, catalogue: Any, rule: str) -> None:
    made(tmp_path / "data")
    chosen = flow(tmp_path, catalogue, "'img/{case}_t1.nii'", RATERS, f"  raters: {rule}")
    label = find_dataset(chosen.data, catalogue).cases[0].label
    assert isinstance(label, MaskRef) and label.rule == rule and len(label.parts) == 3
    done = run_workflow(chosen, catalogue, tmp_path / "run", steps=["plan", "prepare"], progress=Progress(quiet=True))
    folders = json.loads((done.folder / "prepared.json").read_text())["folders"]
    case = load_prepared("c1", done.folder / "cache" / folders["c1"])
    assert np.array_equal(np.array(case.label), np.asarray(nib.load(tmp_path / "data/seg/good/c1.nii").dataobj))
    assert "raters: " + rule in (done.folder / "workflow.yaml").read_text()
