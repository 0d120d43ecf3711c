"""What decides the result of a scan in a batch, and what does not: each is changed between two calls in one folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_scans import CONTRACT, Brightness, ball, model, other_code, rows, run, write_scan

from voxgraft.batch.model import WORKFLOW as KEPT
from voxgraft.batch.model import check_unchanged
from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import ModelError
from voxgraft.inference.recipe import Recipe, network_of
from voxgraft.packages.package import Package, write_package
from voxgraft.review.state.sources import check_same, items_of
from voxgraft.support.files import sha256
from voxgraft.support.progress import Progress

WORKFLOW = "data: {modality: mr}\nmodel: {encoder: {use: residual}, decoder: {use: unet}}\n"
TAKING_PART = {
    "reader": "voxgraft_plugins.nifti",
    "modality": "voxgraft_plugins.modalities",
    "encoder": "voxgraft_plugins.residual_encoder",
    "decoder": "voxgraft_plugins.decoders",
    "measurement": "voxgraft_plugins.measurements",
}
ASIDE = ("voxgraft_plugins.itk", "voxgraft_plugins.losses", "voxgraft_plugins.executors")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """A batch in which one scan is done; the tests leave it as it is."""
    folder = tmp_path_factory.mktemp("done")
    write_scan(folder / "a.nii.gz")
    package(folder)
    run(folder, catalogue, folder / "a.nii.gz", package=package(folder))
    return folder


def package(folder: Path, **changes: Any) -> Any:
    made = model(folder / "model", **changes)
    (folder / "model" / "workflow.yaml").write_text(WORKFLOW)
    return made


def again(folder: Path, catalogue: Catalogue, **options: Any) -> str:
    """What becomes of the scan in another call."""
    changes = {"mirrored": options.pop("mirrored")} if "mirrored" in options else {}
    return run(folder, catalogue, folder / "a.nii.gz", package=package(folder, **changes), **options).scans[0].state


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 2},
        {"executor": "threads"},
        {"device": "cpu"},
        {"timeout": 100.0},
        {"retry": True},
        {"ignore_contract": True},
        {"progress": Progress()},
        {"overlap": 0.5},  # what it is without being given
        {"mirror": False},
        {"mirror": True},  # training mirrored nothing
        {"precision": "32"},
        {"body": "off"},
        {"writers": ["nifti", "dicom-seg"]},
        {"writers": ["dicom-seg", "nifti", "nifti"]},
    ],
    ids=lambda options: json.dumps(options, default=lambda value: type(value).__name__),
)
def test_what_decides_nothing_throws_no_work_away(done: Path, catalogue: Catalogue, options: dict[str, Any]) -> None:
    assert again(done, catalogue, **options) == "skipped"


OPTIONS: list[dict[str, Any]] = [
    {"overlap": 0.25},
    {"mirror": True},
    {"body": "on"},
    {"precision": "bf16"},
    {"writers": ["nifti"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_option_that_decides_has_scans_done_again(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str], options: dict[str, Any]
) -> None:
    write_scan(tmp_path / "a.nii.gz")
    again(tmp_path, catalogue, mirrored=(0,))
    assert again(tmp_path, catalogue, **options, mirrored=(0,), progress=Progress()) == "done"
    assert "segments again 1 finished scan: other options (1)" in capsys.readouterr().err
    assert again(tmp_path, catalogue, **options, mirrored=(0,)) == "skipped"


def test_what_the_model_says_is_no_other_option_where_it_is_given(tmp_path: Path, catalogue: Catalogue) -> None:
    write_scan(tmp_path / "a.nii.gz")
    made = package(tmp_path, mirrored=(0,))
    (tmp_path / "model" / "workflow.yaml").write_text(f"{WORKFLOW}inference: {{overlap: 0.25, mirror: true}}\n")

    def state(**options: Any) -> str:
        return run(tmp_path, catalogue, tmp_path / "a.nii.gz", package=made, **options).scans[0].state

    assert [state(), state(overlap=0.25), state(mirror=True)] == ["done", "skipped", "skipped"]
    assert [state(overlap=0.5), state(mirror=False)] == ["done", "done"]


@pytest.mark.parametrize("part", [*TAKING_PART.values(), "voxgraft"])
def test_other_code_of_what_takes_part_has_scans_done_again(
    tmp_path: Path,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    part: str,
) -> None:
    write_scan(tmp_path / "a.nii.gz")
    again(tmp_path, catalogue)
    other_code(monkeypatch, part)
    assert again(tmp_path, catalogue, progress=Progress()) == "done"
    whose = "VoxGraft" if part == "voxgraft" else "plugins"
    said = capsys.readouterr().err
    assert f"segments again 1 finished scan: other code of {whose} (1)" in said and "--keep-done keeps" in said
    assert again(tmp_path, catalogue) == "skipped"


@pytest.mark.parametrize("part", ASIDE)
def test_other_code_of_what_takes_no_part_has_nothing_done_again(
    done: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    other_code(monkeypatch, part)
    assert again(done, catalogue) == "skipped"


def replaced_in_place(scan: Path) -> None:
    """Other voxels under the same name, size and time, as an export that sets times leaves them."""
    before = scan.stat()
    write_scan(scan, ball(radius=7))
    os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert scan.stat().st_size == before.st_size


def another_behind_a_link(scan: Path) -> None:
    scan.unlink()
    scan.symlink_to(write_scan(scan.with_name("other.nii"), ball(radius=7)))


@pytest.mark.parametrize("change", [replaced_in_place, another_behind_a_link])
def test_other_voxels_under_one_name_are_segmented(
    tmp_path: Path, catalogue: Catalogue, change: Callable[[Path], None]
) -> None:
    scan = write_scan(tmp_path / "in" / "a.nii")
    run(tmp_path, catalogue, scan)
    change(scan)
    (found,) = run(tmp_path, catalogue, scan).scans
    assert found.state == "done"
    voxels = rows(tmp_path)[found.case].structures["ball"]["voxels"]
    assert voxels > np.count_nonzero((ball() > 100) & (ball() <= 200))


def test_files_that_were_only_copied_are_hashed_once_and_not_done_again(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = write_scan(tmp_path / "in" / "a.nii")
    run(tmp_path, catalogue, scan)
    content = scan.read_bytes()
    scan.unlink()
    scan.write_bytes(content)
    assert run(tmp_path, catalogue, scan).skipped == 1
    monkeypatch.setattr("voxgraft.batch.queue.hash_of", None)
    assert run(tmp_path, catalogue, scan).skipped == 1


@pytest.mark.parametrize("name", ["a + b.nii", " + .nii", "a + b + c/x + y.nii", "a\\ + b.nii"])
def test_a_plus_in_a_name_parts_no_channels(tmp_path: Path, catalogue: Catalogue, name: str) -> None:
    scan = write_scan(tmp_path / "in" / name)
    assert run(tmp_path, catalogue, tmp_path / "in").done == 1 and run(tmp_path, catalogue, scan).skipped == 1
    (row,) = rows(tmp_path).values()
    items = items_of(row, tmp_path / "out", catalogue)
    assert [item.path.resolve() for item in items] == [scan.resolve()]
    check_same(row, items, tmp_path / "out")


def test_one_file_for_another_optional_channel_is_another_scan(tmp_path: Path, catalogue: Catalogue) -> None:
    names = ("t1", "t2", "flair")
    several = model(
        tmp_path / "model",
        channels=names,
        optional=names[1:],
        normalisation=({},) * 3,
        contract={**CONTRACT, "channels": 3},
    )
    write_scan(tmp_path / "x.nii.gz")
    write_scan(tmp_path / "y.nii.gz")
    table, predictor = tmp_path / "w.csv", Missing()
    for row, state in (("y.nii.gz,", "done"), (",y.nii.gz", "done"), (",y.nii.gz", "skipped"), (",", "done")):
        table.write_text(f"case,t1,t2,flair\nc,x.nii.gz,{row}\n")
        assert run(tmp_path, catalogue, table, package=several, predictor=predictor).scans[0].state == state
    assert predictor.missing == [(2,), (1,), (1, 2)]


class Missing(Brightness):
    """Remembers which channels were missing."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: list[Any] = []

    def predict(self, volume: Any, progress: Any = None, missing: Any = ()) -> Any:
        self.missing.append(tuple(missing))
        return super().predict(volume, progress, missing)


def trained(folder: Path, catalogue: Catalogue, seed: int) -> Package:
    """A package that can be applied; another seed gives another model."""
    numbers = ({"clip": 0.0, "stripped": 2.0},)
    made = model(folder, strides=((1, 1, 1), (2, 2, 2)), normalisation=numbers)
    parts = {"modality": "mr", "model": {"encoder": "residual", "decoder": "unet"}, "inference": {}}
    torch.manual_seed(seed)
    tensors = network_of(Recipe.model_validate(parts, context=catalogue).model, made.plan).state_dict()
    told: dict[str, Any] = {"plan": made.plan, "labels": made.labels, "card": "", "facts": {"name": "balls"}}
    return write_package(folder, tensors=tensors, workflow=WORKFLOW, **told)


def test_a_package_that_is_replaced_while_a_batch_runs_is_not_applied(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "a.nii")
    before = trained(tmp_path / "model", catalogue, seed=0)
    check_unchanged(replace(before, facts={KEPT: sha256(before.folder / "workflow.yaml")}))
    with pytest.raises(ModelError, match="was replaced while it was in use"):
        check_unchanged(replace(before, facts={KEPT: "0" * 64}))
    assert segment(before, [scan], tmp_path / "out", catalogue).done == 1
    after = trained(tmp_path / "model", catalogue, seed=1)
    with pytest.raises(ModelError, match="was replaced while it was in use"):
        segment(before, [scan], tmp_path / "other", catalogue)
    assert segment(after, [scan], tmp_path / "other", catalogue).done == 1
