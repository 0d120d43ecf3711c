"""What a person must write is said where something else stands: in workflows, for tables, folders and packed files."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import boxes, workflow

from voxgraft.batch.contract import judge
from voxgraft.cli import main
from voxgraft.errors import BadImage, WorkflowError
from voxgraft.imaging.read import scan
from voxgraft.imaging.volume import Item
from voxgraft.preprocessing.plan import Plan
from voxgraft.workflow.workflow import read


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxes(tmp_path_factory.mktemp("messages") / "d", cases=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training.budget=5", "training.budget: give the unit too: '5 steps', '5 epochs' or '5 min'"),
        ("training.budget=[5]", "expected an amount and a unit, such as '500 steps'"),
        ("training.batch=two", "training.batch: write a whole number or auto, not 'two'"),
        ("training.batch=0", "training.batch: write a number of at least 1 or auto, not 0"),
        ("training.patch=big", "training.patch: write a list or auto, not 'big'"),
        ("data.split.fold=x", "data.split.fold: write a whole number or all, not 'x'"),
        ("data.labels={a: {value: 1}}", "data.labels.a.from: this key is required"),
        ("data.labels={a: q}", "data.labels.a: write a whole number or keys and values, not 'q'"),
        ("data.labels={a: {value: 0, from: [1]}}", "data.labels.a.value: write a number of at least 1, not 0"),
        ("data.labels={a: {value: 1.5, from: [1]}}", "data.labels.a.value: write a whole number, not 1.5"),
        ("data.labels={a: {value: 1, from: []}}", "data.labels.a.from: write a list of at least 1, not this"),
        ("data.labels={a: {value: 1, from: [2], fron: 3}}", "data.labels.a.fron: there is no key 'fron' here"),
    ],
)
def test_a_value_of_several_kinds_names_them_all(tmp_path, data, catalogue, text, said) -> None:
    with pytest.raises(WorkflowError) as caught:
        read(workflow(tmp_path, data), catalogue, [text])
    assert str(caught.value) == f"--set: {said}" or said in str(caught.value)
    assert "constrained" not in str(caught.value) and "literal[" not in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_precision_is_a_number_too(tmp_path, data, catalogue) -> None:
    assert read(workflow(tmp_path, data), catalogue, ["training.precision=32"]).training.precision == "32"


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_table_is_no_workflow(tmp_path, command) -> None:
    (tmp_path / "cases.csv").write_text("case,image\na,b.nii.gz\n")
    done = CliRunner().invoke(main, [command, str(tmp_path / "cases.csv")])
    assert done.exit_code == 2 and "layout: {use: csv, path: " in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_is_no_workflow(data) -> None:
    done = CliRunner().invoke(main, ["run", str(data)])
    assert done.exit_code == 2 and f"`voxgraft check {data}`" in done.stderr


@pytest.mark.parametrize("name", ["scan", "scan.gz", "scan.dat"])
def test_a_packed_file_without_its_ending_is_told_its_name(tmp_path, data, catalogue, name) -> None:
    whole = next((data / "imagesTr").iterdir())
    shutil.copy(whole, tmp_path / name)
    wanted = "scan.dat.nii.gz" if name == "scan.dat" else "scan.nii.gz"
    with pytest.raises(BadImage, match=f"rename it to {wanted}$"):
        scan(tmp_path / name, catalogue)
    shutil.copy(tmp_path / name, tmp_path / wanted)
    shutil.copy(tmp_path / name, tmp_path / "packed.nii")
    (tmp_path / "plain.nii.gz").write_bytes(gzip.decompress(whole.read_bytes()))
    for other in (wanted, "packed.nii", "plain.nii.gz"):
        assert scan(tmp_path / other, catalogue)[0].shape == (20, 18, 16)


@pytest.mark.parametrize(
    ("channels", "names", "said"),
    [
        (
            1,
            ("red", "green", "blue"),
            "it has 1 channel, the model takes 3 (red, green, blue): it is grey; save it in colour",
        ),
        (3, ("image",), "it has 3 channels, the model takes 1 (image): save the right channel"),
    ],
)
def test_a_scan_of_other_channels_is_told_what_to_be(channels, names, said) -> None:
    from training import tiny_plan

    changes: dict[str, object] = {"image_dims": 2, "dims": 2, "spacing": (1.0, 1.0), "patch": (8, 8)}
    changes |= {"channels": names, "normalisation": [{}] * len(names)}
    plan = Plan.model_validate({**tiny_plan().model_dump(), **changes, "strides": ((1, 1),)})
    item = Item(Path("a.png"), "picture", (9, 9), np.diag([-1.0, -1, 1, 1]), channels=channels)
    assert any(reason.startswith(said) for reason in judge(item, plan).reasons)


def test_a_run_without_a_model_names_none(tmp_path, data) -> None:
    done = CliRunner().invoke(
        main, ["run", str(workflow(tmp_path, data, "[check, plan]")), "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0 and "the model is in" not in done.stdout


def test_labels_of_an_option_are_not_sought_in_a_workflow(tmp_path, data) -> None:
    label = next((data / "labelsTr").iterdir())
    done = CliRunner().invoke(main, ["convert", str(label), str(tmp_path / "m.nii.gz"), "--labels", "other=7"])
    assert done.exit_code == 1 and "--labels" in done.stderr and "data." not in done.stderr.replace(str(tmp_path), "")
