"""The record of plugins: whatever takes part stands in it, and a model says when it is used with other code."""

from __future__ import annotations

import html
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from datasets import boxes, workflow

from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.packages.package import amend_package, read_package
from voxgraft.runs.engine import run_workflow
from voxgraft.runs.run import Run
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

QUICK = ("tracking=null", "training.budget=2 steps", "evaluation.metrics=[dice]")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxes(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data_set: Path) -> Run:
    catalogue = discover()
    folder = tmp_path_factory.mktemp("run")
    flow = read(workflow(folder, data_set, "[plan, prepare, train]"), catalogue, QUICK)
    return run_workflow(flow, catalogue, folder / "run", progress=Progress(quiet=True))


def test_readers_writers_second_layouts_and_stores_are_recorded(
    tmp_path: Path, data_set: Path, catalogue: Catalogue
) -> None:
    (tmp_path / "more" / "images").mkdir(parents=True)
    for number in range(2):
        image = nib.load(data_set / "imagesTr" / f"box_00{number}.nii.gz")
        voxels = np.asarray(image.dataobj).transpose()
        sitk.WriteImage(sitk.GetImageFromArray(voxels), tmp_path / "more" / "images" / f"m{number}.nrrd")
    beside = f"data.unlabelled={{use: pairs, path: {tmp_path / 'more'}, images: images, labels: null}}"
    start = "model.start=models:/boxes@champion"
    flow = read(workflow(tmp_path, data_set, "[plan]"), catalogue, [*QUICK, beside, start])
    done = run_workflow(flow, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    recorded = done.read("environment.json")["plugins"]
    named = {"layouts", "modalities", "residual", "decoders", "losses", "metrics", "steps"}
    assert named | {"nifti", "itk", "registry"} <= {name.split(":")[-1] for name in recorded}
    assert all(len(one["sha256"]) == 64 for one in recorded.values())


def test_the_package_holds_the_record_of_its_run(run: Run) -> None:
    recorded = run.read("environment.json")["plugins"]
    assert read_package(run.package).facts["plugins"] == recorded
    assert any(name.endswith(":nifti") for name in recorded)


@pytest.mark.parametrize(
    ("plugin", "change", "said"),
    [
        (
            "nifti",
            {"sha256": "0" * 64},
            "1 plugin with code that differs from the training of the model: 'voxgraft:nifti' {now}",
        ),
        (
            "residual",
            {"version": "0.0.1"},
            "1 plugin of another version than in the training of the model: 'voxgraft:residual' {now} instead of 0.0.1",
        ),
        ("decoders", None, "1 plugin not used in the training of the model: 'voxgraft:decoders' {now}"),
        ("", {}, "VoxGraft {now} is used, the model was trained with 0.0.0"),
        ("losses", {"sha256": "0" * 64}, ""),
    ],
)
def test_prediction_says_that_it_uses_other_code(
    tmp_path: Path, data_set: Path, run: Run, plugin: str, change: dict[str, str] | None, said: str
) -> None:
    facts = read_package(run.package).facts
    plugins = json.loads(json.dumps(facts["plugins"]))
    (name,) = [one for one in plugins if one.endswith(f":{plugin}")] or [""]
    now = facts["voxgraft"] if not plugin else plugins[name]["version"]
    if change is None:
        del plugins[name]
    elif plugin:
        plugins[name].update(change)
    card = (run.package / "card.md").read_text()
    amend_package(
        run.package, card=card, facts={"plugins": plugins, "voxgraft": facts["voxgraft"] if plugin else "0.0.0"}
    )
    try:
        call = [
            "segment",
            run.package,
            data_set / "imagesTr" / "box_000.nii.gz",
            "--out",
            tmp_path / "out",
            "--device",
            "cpu",
        ]
        done = CliRunner().invoke(main, [str(word) for word in call])
    finally:
        amend_package(run.package, card=card, facts={"plugins": facts["plugins"], "voxgraft": facts["voxgraft"]})
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "box_000" / "report.json").read_text())
    flags = [flag["message"] for flag in report["flags"] if flag["code"] == "other-code"]
    assert len(flags) == bool(said)
    for message in flags:
        assert said.format(now=now) in message
        short = f"note: {message.split(': ')[0]} (flag other-code in {tmp_path / 'out' / 'report.html'})"
        assert done.output.splitlines().count(short) == 1
        assert said.format(now=now) in html.unescape((tmp_path / "out" / "report.html").read_text())
