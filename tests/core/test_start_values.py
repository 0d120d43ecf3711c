"""Tests of what is said before arrays are prepared: start values that are not there or do not fit, strategies that ask
for what the network has not, how many trainings it will be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from datasets import boxes, workflow
from safetensors.torch import load_file, save_file

from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import ModelError, TrainingError, VoxGraftError
from voxgraft.runs.dryrun import dry_run
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxes(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_set: Path, catalogue: Catalogue) -> Path:
    """The encoder of a run, as a file."""
    folder = tmp_path_factory.mktemp("trained")
    checked = read(workflow(folder, data_set), catalogue, ["tracking=null", "training.budget=1 steps"])
    done = run_workflow(checked, catalogue, folder / "run", steps=["plan", "prepare", "train"], progress=QUIET)
    tensors = load_file(done.package / "model.safetensors")
    save_file({name[8:]: one for name, one in tensors.items() if name.startswith("encoder.")}, folder / "w.safetensors")
    return folder / "w.safetensors"


QUIET = Progress(quiet=True)


def checked_run(tmp_path: Path, data: Path, catalogue: Catalogue, *overrides: str) -> Any:
    flow = read(workflow(tmp_path, data), catalogue, ["tracking=null", "training.budget=1 steps", *overrides])
    return run_workflow(flow, catalogue, tmp_path / "run", steps=["plan", "prepare", "train"], progress=QUIET)


def test_weights_that_do_not_fit_stop_the_run_before_arrays_are_prepared(
    tmp_path: Path, data_set: Path, catalogue: Catalogue, trained: Path
) -> None:
    tensors = load_file(trained)
    save_file(dict(list(tensors.items())[: len(tensors) // 2]), tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match=r"half\.safetensors: only \d+% .*: .*allow_partial: true"):
        checked_run(tmp_path, data_set, catalogue, f"model.encoder.weights=file:{tmp_path}/half.safetensors")
    assert (tmp_path / "run" / "plan.json").exists() and not (tmp_path / "run" / "cache").exists()


def test_weights_of_another_width_are_told_from_those_of_another_network(
    tmp_path: Path, data_set: Path, catalogue: Catalogue, trained: Path
) -> None:
    weights = f"model.encoder.weights=file:{trained}"
    with pytest.raises(ModelError, match=r"\d+ tensors have the right name but another size; choose the variant"):
        checked_run(tmp_path, data_set, catalogue, weights, "model.encoder.width=16")
    other = {f"theirs_{number}": one for number, one in enumerate(load_file(trained).values())}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"only 0% .*they hold theirs_\d+, theirs_\d+; choose the encoder"):
        checked_run(tmp_path, data_set, catalogue, f"model.encoder.weights=file:{tmp_path}/other.safetensors")


def test_weights_of_volumes_for_a_network_of_slices_are_told_so(
    tmp_path: Path, data_set: Path, catalogue: Catalogue, trained: Path
) -> None:
    slices = ("model.dims=2", "training.patch=[16, 16]", f"model.encoder.weights=file:{trained}")
    with pytest.raises(ModelError, match=r"of a 3D network and this one is 2D; set model\.dims to 3"):
        checked_run(tmp_path, data_set, catalogue, *slices)


def test_a_strategy_that_asks_for_a_stage_too_many_stops_the_run_before_arrays_are_prepared(
    tmp_path: Path, data_set: Path, catalogue: Catalogue, trained: Path
) -> None:
    deep = "transfer=[{use: fine-tune, from_stage: 99}]"
    with pytest.raises(TrainingError, match="from_stage is 99"):
        checked_run(tmp_path, data_set, catalogue, f"model.encoder.weights=file:{trained}", deep)
    assert not (tmp_path / "run" / "cache").exists()


@pytest.mark.parametrize("weights", ["file:nowhere.pth", "models:/nobody@champion"])
def test_a_check_tells_of_start_values_that_cannot_be_had(tmp_path: Path, data_set: Path, weights: str) -> None:
    path = str(workflow(tmp_path, data_set))
    found = CliRunner().invoke(main, ["check", path, "--set", f"model.encoder.weights={weights}", "--json"])
    errors = [one for one in json.loads(found.stdout)["problems"] if one["severity"] == "error"]
    assert found.exit_code == 1 and [one["code"] for one in errors] == ["weights"]
    assert "nowhere.pth: there is no such file" in errors[0]["message"] or "no registry" in errors[0]["message"]


def test_a_check_tells_of_a_teacher_that_is_not_there_in_its_document(tmp_path: Path, data_set: Path) -> None:
    path = str(workflow(tmp_path, data_set))
    teacher = "transfer=[{use: distil, teacher: nowhere}]"
    found = CliRunner().invoke(main, ["check", path, "--set", teacher, "--json"])
    assert found.exit_code == 1
    assert "nowhere" in json.loads(found.stdout)["problems"][0]["message"]


def test_a_dry_run_tells_what_became_of_the_weights_and_how_many_trainings_it_will_be(
    tmp_path: Path, data_set: Path, catalogue: Catalogue, trained: Path
) -> None:
    overrides = [
        "tracking=null",
        "training.budget=1 steps",
        f"model.encoder.weights=file:{trained}",
        "transfer=[{use: freeze}]",
        "data.split={folds: 3, fold: all, labelled: 2, repeats: 2}",
        "guard=twin",
    ]
    told = dry_run(read(workflow(tmp_path, data_set), catalogue, overrides), catalogue)
    assert told["weights"].startswith("w.safetensors (licence not stated): 100% of the encoder's parameters; ")
    assert told["weights"].endswith(" tensors loaded, 0 adapted, 0 new, 0 dropped")
    assert told["training"].endswith(", in each of 6 runs, each with a twin from scratch")
    learning, _, all_of_them = told["learning"].removesuffix(" parameters").partition(" of ")
    assert 0 < int(learning.replace(",", "")) < int(all_of_them.replace(",", ""))


def test_a_dry_run_refuses_weights_that_training_would_refuse(
    tmp_path: Path, data_set: Path, catalogue: Catalogue, trained: Path
) -> None:
    flow = read(workflow(tmp_path, data_set), catalogue, [f"model.encoder.weights=file:{trained}", "tracking=null"])
    assert dry_run(flow, catalogue)["weights"] != "none (trained from scratch)"
    wide = read(workflow(tmp_path, data_set), catalogue, [f"model.encoder={{use: segresnet, weights: file:{trained}}}"])
    with pytest.raises(VoxGraftError, match="not for this encoder"):
        dry_run(wide, catalogue)
