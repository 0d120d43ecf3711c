"""Left and right: prediction mirrors along the axes along which training mirrored; check warns of what mixes sides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import boxes, workflow
from torch import nn

from voxgraft.batch.segment import segment
from voxgraft.checks.sides import judge_mirroring, sided
from voxgraft.imaging.structures import Label, Labels, Region
from voxgraft.inference.predictor import UNMIRRORED, predictor_of
from voxgraft.inference.sliding import sliding_window
from voxgraft.packages.package import read_package
from voxgraft.runs.dryrun import dry_run
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.training.augment import mirrored_axes
from voxgraft.workflow.workflow import read

QUICK = ("tracking=null", "training.budget=2 steps", "evaluation.metrics=[dice]", "registry=null")
MIRROR = "data.modality={use: mr, augmentation: {mirror: 1}}"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    """Boxes that are named after a side."""
    folder = boxes(tmp_path_factory.mktemp("data") / "boxes")
    document = json.loads((folder / "dataset.json").read_text())
    document["labels"]["1"] = "box_left"
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder


def codes(labels: Labels, path: Path, catalogue, *changes: str) -> list[str]:
    return [problem.code for problem in judge_mirroring(labels, read(path, catalogue, [*QUICK, *changes]))]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([], []),
        ([MIRROR], ["mirrored-sides"]),
        ([MIRROR, "inference.mirror=true"], ["mirrored-sides"]),
        ([MIRROR, "training.augment=0"], []),
        ([MIRROR, "training.augment=0", "inference.mirror=true"], ["mirror-unused"]),
        (["inference.mirror=true"], ["mirror-unused"]),
        (["data.modality={use: mr, augmentation: {rotation: 180}}"], ["mirrored-sides"]),
        (["data.modality={use: mr, augmentation: {rotation: 180}}", "training.augment=0.4"], []),
    ],
)
def test_mirroring_of_structures_with_sides_is_warned_of(tmp_path, data_set, catalogue, changes, found) -> None:
    path = workflow(tmp_path, data_set)
    assert codes(Labels.of({"kidney_left": 1, "kidney_right": 2}), path, catalogue, *changes) == found
    assert "mirrored-sides" not in codes(Labels.of({"liver": 1}), path, catalogue, *changes)


def test_names_terms_and_regions_tell_sides() -> None:
    names = {"L.Hippocampus": 1, "liver": 2, "LV": 3, "RV": 4, "LA": 5, "vertebra_L1": 6}
    assert sided(Labels.of(names)) == ["L.Hippocampus", "LV", "RV"]
    coded = Labels((Label(1, "niere", ("9846003", "SCT", "Right kidney")),), regions=(Region("lung left", (1,)),))
    assert sided(coded) == ["niere", "lung left"]


def test_windows_are_mirrored_along_the_axes_that_are_given() -> None:
    class Sided(nn.Module):
        """Says 1 in the first half of the first axis, whatever is there."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            half = torch.zeros_like(image)
            half[:, :, : image.shape[2] // 2] = 1.0
            return torch.cat([-half, half], 1)

    image = torch.zeros(1, 8, 8, 8)
    plain = sliding_window(Sided(), image, (8, 8, 8), result="logits")
    along = [
        sliding_window(Sided(), image, (8, 8, 8), mirror=axes, result="logits") for axes in ((), (1, 2), (0,), True)
    ]
    assert torch.equal(along[0], plain) and torch.equal(along[1], plain)
    assert torch.allclose(along[2][1], torch.tensor(0.5)) and torch.allclose(along[3], along[2])


def test_a_model_is_mirrored_only_where_training_mirrored(tmp_path, data_set, catalogue, monkeypatch) -> None:
    monkeypatch.setattr("voxgraft.inference.precision.has_bf16", lambda: True)
    path = workflow(tmp_path, data_set)
    said: list[str] = []

    class Heard(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    checked = read(path, catalogue, [*QUICK, "inference.mirror=true", "inference.precision=32"])
    run = run_workflow(checked, catalogue, tmp_path / "plain", progress=Heard(quiet=True))
    package = read_package(run.package)
    assert package.plan.mirrored == () and f"evaluate: {UNMIRRORED}" in said
    assert package.facts["precision"] == {}
    assert any("training mirrors images along no axis" in line for line in said)
    scan = data_set / "imagesTr" / "box_000.nii.gz"
    said.clear()
    segment(package, [scan], tmp_path / "batch", catalogue, device="cpu", mirror=True, progress=Heard(quiet=True))
    assert UNMIRRORED in said
    masks = [predictor_of(package, catalogue, device="cpu", mirror=asked) for asked in (True, False)]
    assert [one.notes for one in masks] == [(UNMIRRORED,), ()]
    images = [vol.array for vol in (_predicted(one, scan, catalogue) for one in masks)]
    assert np.array_equal(*images)

    checked = read(path, catalogue, [*QUICK, MIRROR])
    assert "box_left" in dry_run(checked, catalogue)["warnings"]
    said.clear()
    run = run_workflow(checked, catalogue, tmp_path / "mirrored", progress=Heard(quiet=True))
    assert any("'box_left' has a side" in line for line in said if line.startswith("check: warning"))
    package = read_package(run.package)
    assert package.plan.mirrored == (0, 1, 2) == mirrored_axes({"mirror": 1.0}, 1.0, 3)
    assert predictor_of(package, catalogue, device="cpu", mirror=True, precision="32").notes == ()
    assert package.facts["precision"]["bf16"]["cases"] > 0  # tried, since the first workflow's `32` is not here
    assert "## In half precision" in (package.folder / "card.md").read_text()


def _predicted(predictor, scan: Path, catalogue):
    from voxgraft.imaging.read import read as read_volume
    from voxgraft.imaging.volume import ImageRef

    return predictor.predict(read_volume(ImageRef(scan), catalogue)).labels
