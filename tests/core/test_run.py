"""Runs of whole workflows: steps are resumed by their inputs, faults stop before you spend hours training."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from datasets import boxes, workflow

from voxgraft.cli import main
from voxgraft.errors import DataError, ModelError, TrainingError, UsageError, VoxGraftError
from voxgraft.imaging.read import read as read_image
from voxgraft.inference.predictor import Predictor
from voxgraft.packages.package import read_package
from voxgraft.runs.dryrun import dry_run
from voxgraft.runs.engine import run_workflow
from voxgraft.support.files import sha256
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read


class Lines:
    """Collects what a run says."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


@pytest.fixture
def untracked(tmp_path, catalogue, monkeypatch):
    """Runs a workflow without MLflow, whose own tests are in tests/registry."""

    def run(path: Path, *overrides: str, out: Path | None = None, **options):
        lines = Lines()
        checked = read(path, catalogue, ["tracking=null", *overrides])
        done = run_workflow(checked, catalogue, out or tmp_path / "run", progress=Progress(stream=lines), **options)
        return done, lines.text

    return run


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    return boxes(tmp_path_factory.mktemp("data") / "boxes")


def test_a_workflow_leaves_a_package_and_scores(tmp_path, data_set, untracked) -> None:
    run, text = untracked(workflow(tmp_path, data_set))
    package = read_package(run.package)
    assert package.plan.labels == ((1, "box"),) and package.labels.names == ("box",)
    assert set(package.facts["plugins"]) >= {"voxgraft:residual", "voxgraft:unet"} or package.facts["plugins"]
    scores = json.loads((run.folder / "evaluate" / "scores.json").read_text())
    assert set(scores["cases"]) == set(run.split.validation) and "dice" in scores["summary"]
    assert "| dice | box |" in (run.package / "card.md").read_text()
    table = json.loads((run.folder / "train" / "parameters.json").read_text())
    assert {row["origin"] for row in table} == {"new"} and all(row["train"] for row in table)
    assert "check: done" in text and "evaluate: done" in text


def test_a_second_run_passes_over_everything_and_a_change_redoes_what_depends_on_it(
    tmp_path, data_set, untracked
) -> None:
    path = workflow(tmp_path, data_set)
    run, _ = untracked(path)
    before = sha256(run.package / "model.safetensors")
    stamp = (run.package / "model.safetensors").stat().st_mtime_ns
    _, text = untracked(path)
    assert text.count("unchanged, skipped") == 5
    _, text = untracked(path, steps=["evaluate"])
    assert text.count("unchanged, skipped") == 1 and "done in" not in text
    assert (run.package / "model.safetensors").stat().st_mtime_ns == stamp
    _, text = untracked(path, "evaluation.metrics=[dice]")
    assert text.count("unchanged, skipped") == 4 and "evaluate: done" in text
    _, text = untracked(path, "training.seed=8")
    assert "prepare: unchanged" in text and "train: done" in text
    assert sha256(run.package / "model.safetensors") != before
    (run.package / "model.safetensors").write_bytes(b"damaged")
    _, text = untracked(path, "training.seed=8")
    assert "train: done" in text and read_package(run.package)
    _, text = untracked(path, "training.seed=8", fresh=True)
    assert "unchanged" not in text


def test_the_same_workflow_gives_the_same_weights(tmp_path, data_set, untracked) -> None:
    path = workflow(tmp_path, data_set)
    one, _ = untracked(path, out=tmp_path / "one")
    two, _ = untracked(path, out=tmp_path / "two")
    assert sha256(one.package / "model.safetensors") == sha256(two.package / "model.safetensors")


def test_a_run_killed_in_training_goes_on(tmp_path, data_set, repo_path, untracked) -> None:
    path = workflow(tmp_path, data_set)
    script = (
        "import os, signal\nfrom voxgraft.training import loop\nfrom voxgraft.cli import main\n"
        "loop.SAVE_EVERY, real, saved = 0.0, loop.save, []\n"
        "def save(*rest):\n    real(*rest)\n    saved.append(rest)\n"
        "    len(saved) == 5 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop.save = save\n"
        f"main(['run', {str(path)!r}, '--out', {str(tmp_path / 'run')!r}, '--set', 'tracking=null', "
        "'--set', 'training.budget=24 steps'])"
    )
    process = subprocess.run([sys.executable, "-c", script], env=repo_path, stderr=subprocess.DEVNULL, timeout=240)
    assert process.returncode == -signal.SIGKILL
    checkpoint = tmp_path / "run" / "train" / "last.pt"
    assert checkpoint.exists() and not (tmp_path / "run" / "package").exists()
    killed, text = untracked(path, "training.budget=24 steps")
    assert "prepare: unchanged, skipped" in text
    straight, _ = untracked(path, "training.budget=24 steps", out=tmp_path / "straight")
    assert sha256(killed.package / "model.safetensors") == sha256(straight.package / "model.safetensors")
    assert not list((tmp_path / "run").rglob(".tmp-*"))


def test_two_runs_in_one_folder_are_refused(tmp_path, data_set, untracked) -> None:
    import fcntl

    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another voxgraft is running in this folder"):
            untracked(workflow(tmp_path, data_set))


def test_a_file_in_the_place_of_a_runs_folder_is_a_wrong_call(tmp_path, data_set) -> None:
    path = workflow(tmp_path, data_set)
    for out in (path, path / "below"):
        result = CliRunner().invoke(main, ["run", str(path), "--set", "tracking=null", "--out", str(out)])
        assert result.exit_code == 2, result.stderr
        told = ": cannot be made the folder of a run: a file has that name; name another with --out\n"
        assert result.stderr.endswith(told)


@pytest.mark.parametrize("command", ["run", "check"])
def test_what_is_stopped_by_hand_says_whether_it_goes_on(tmp_path, data_set, monkeypatch, command) -> None:
    def stop(*_, **__):
        raise KeyboardInterrupt

    # What is imported while another module is patched keeps the stand-in: `checking` comes first.
    for place in ("voxgraft.runs.checking.read", "voxgraft.workflow.workflow.read"):
        monkeypatch.setattr(place, stop)
    result = CliRunner().invoke(main, [command, str(workflow(tmp_path, data_set))])
    assert result.exit_code == 1 and result.stderr.startswith("voxgraft: stopped by hand")
    assert ("the same command continues from there" in result.stderr) == (command == "run")


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("run", "voxgraft.runs.engine.run_workflow"),
        ("check", "voxgraft.runs.checking.read"),
        ("advise", "voxgraft.workflow.workflow.read"),
        ("new", "voxgraft.scaffold.begin.survey"),
        ("deidentify", "voxgraft_dicom.deidentify.tree.check_places"),
    ],
)
def test_a_command_that_is_asked_to_end_does(tmp_path, data_set, monkeypatch, command, place) -> None:
    monkeypatch.setattr(place, lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    words = {"new": [str(data_set)], "deidentify": [str(data_set), str(tmp_path / "out")]}
    result = CliRunner().invoke(main, [command, *words.get(command, [str(workflow(tmp_path, data_set))])])
    assert result.exit_code == 1 and result.stderr.startswith("voxgraft: stopped by hand")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_only_the_steps_asked_for_are_done(tmp_path, data_set, untracked) -> None:
    path = workflow(tmp_path, data_set)
    run, _ = untracked(path, steps=["plan"])
    assert (run.folder / "plan.json").exists() and not (run.folder / "prepared.json").exists()
    with pytest.raises(UsageError, match="has no step 'trian'"):
        untracked(path, steps=["trian"])
    with pytest.raises(DataError, match="run the earlier steps"):
        untracked(path, steps=["train"], out=tmp_path / "elsewhere")


def test_a_label_value_that_nothing_names_stops_the_run(tmp_path, untracked) -> None:
    data = boxes(tmp_path / "data")
    image = nib.load(data / "labelsTr" / "box_002.nii.gz")
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] = 7
    nib.save(nib.Nifti1Image(array, image.affine), data / "labelsTr" / "box_002.nii.gz")
    with pytest.raises(DataError, match=r"7"):
        untracked(workflow(tmp_path, data))
    report = json.loads((tmp_path / "run" / "check.json").read_text())
    assert [(p["code"], p["case"]) for p in report["problems"] if p["severity"] == "error"] == [
        ("unnamed-label", "box_002")
    ]
    with pytest.raises(DataError, match=r"\[7\], which have no name"):
        untracked(workflow(tmp_path, data, steps="[plan]"), out=tmp_path / "unchecked")


@pytest.mark.parametrize("damage", ["truncated", "no label", "another grid", "nan affine"])
def test_a_bad_case_is_named_before_training(tmp_path, untracked, damage) -> None:
    data = boxes(tmp_path / "data")
    victim = data / "imagesTr" / "box_001.nii.gz"
    label = data / "labelsTr" / "box_001.nii.gz"
    if damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:600])
    elif damage == "no label":
        label.unlink()
    elif damage == "another grid":
        nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)), label)
    else:
        image = nib.load(victim)
        header = image.header.copy()
        header["srow_x"] = np.nan
        header["sform_code"] = 1
        raw = nib.Nifti1Image(np.asarray(image.dataobj), None, header)
        raw.header["srow_x"] = np.nan
        raw.header["sform_code"], raw.header["qform_code"] = 1, 0
        nib.save(raw, victim)
    with pytest.raises(VoxGraftError) as caught:
        untracked(workflow(tmp_path, data))
    assert "box_001" in str(caught.value)
    assert not (tmp_path / "run" / "train").exists()


def test_a_strategy_that_lacks_its_weights_stops_before_training(tmp_path, data_set, untracked) -> None:
    path = workflow(tmp_path, data_set, **{"transfer: []": "transfer: [{use: freeze}]"})
    with pytest.raises(VoxGraftError, match="pretrained weights"):
        untracked(path)
    assert not (tmp_path / "run" / "plan.json").exists()


def test_a_limit_takes_whole_cases_and_leaves_the_held_out_ones(tmp_path, data_set, untracked) -> None:
    path = workflow(tmp_path, data_set)
    all_, _ = untracked(path, steps=["check", "plan"])
    few, _ = untracked(path, "data.limit=2", steps=["check", "plan"], out=tmp_path / "few")
    assert len(few.split.train) == 2 and few.split.validation == all_.split.validation
    assert set(few.split.train) <= set(all_.split.train)


def test_a_dry_run_estimates_and_writes_nothing(tmp_path, data_set, catalogue) -> None:
    before = sorted(tmp_path.rglob("*"))
    path = workflow(tmp_path, data_set)
    document = dry_run(read(path, catalogue, ["training.budget=1 min"]), catalogue)
    assert document["patch"] == "16x16x16, batch 2" and "4 cases to train on, 2 held out" in document["data"]
    assert "about" in document["training"] and "GiB" in document["memory"]
    assert sorted(p for p in tmp_path.rglob("*") if p != path) == before


def test_a_dry_run_refuses_what_training_would_refuse(tmp_path, data_set, catalogue) -> None:
    path = workflow(tmp_path, data_set)
    with pytest.raises(TrainingError, match="channel-dropout finds no channel that a scan may lack"):
        dry_run(read(path, catalogue, ["transfer=[channel-dropout]"]), catalogue)
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="only 0% of the encoder's parameters were found"):
        dry_run(read(path, catalogue, [f"model.encoder.weights=file:{tmp_path}/other.pth"]), catalogue)
    partial = [f"model.encoder.weights=file:{tmp_path}/other.pth", "model.encoder.allow_partial=true"]
    with pytest.raises(TrainingError, match=r"none of the tensors of other\.pth fits the encoder"):
        dry_run(read(path, catalogue, [*partial, "transfer=[freeze]"]), catalogue)


def test_prediction_lies_on_the_scan_whatever_its_orientation(tmp_path, data_set, untracked, catalogue) -> None:
    """The same patient stored with other axes gives the same mask in the same place."""
    run, _ = untracked(workflow(tmp_path, data_set), "training.budget=150 steps", "training.augment=0.3")
    predictor = Predictor(read_package(run.package), catalogue)
    source = nib.load(data_set / "imagesTr" / "box_000.nii.gz")
    nib.save(source, tmp_path / "one.nii.gz")
    nib.save(source.as_reoriented(np.array([[0, -1], [1, 1], [2, -1]])), tmp_path / "turned.nii.gz")
    turned = nib.as_closest_canonical(nib.load(tmp_path / "turned.nii.gz"))
    permuted = nib.Nifti1Image(np.asarray(source.dataobj).transpose(2, 0, 1), source.affine[:, [2, 0, 1, 3]])
    nib.save(permuted, tmp_path / "permuted.nii.gz")
    nib.save(turned, tmp_path / "canonical.nii.gz")
    places = []
    for name in ("one", "turned", "permuted", "canonical"):
        scan = read_image(tmp_path / f"{name}.nii.gz", catalogue)
        mask = predictor.predict(scan).labels
        assert mask.array.shape == scan.array.shape and np.allclose(mask.affine, scan.affine)
        voxels = np.argwhere(mask.array == 1)
        places.append((len(voxels), mask.affine[:3, :3] @ voxels.mean(0) + mask.affine[:3, 3]))
    truth = np.asarray(nib.load(data_set / "labelsTr" / "box_000.nii.gz").dataobj)
    centre = source.affine[:3, :3] @ np.argwhere(truth == 1).mean(0) + source.affine[:3, 3]
    for number, place in places:
        assert number == places[0][0] and np.allclose(place, places[0][1], atol=1e-3)
        assert np.linalg.norm(place - centre) < 1.5
