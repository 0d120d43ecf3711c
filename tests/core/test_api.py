"""`import voxgraft as vg`: the names are functions and classes, whatever has been imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import boxes, workflow

import voxgraft as vg
from voxgraft.errors import UsageError

MODULES = (
    "voxgraft.api voxgraft.imaging.read voxgraft.discovery voxgraft.scoring.paths voxgraft.batch.segment voxgraft.cli "
    "voxgraft.advice.advise voxgraft.packages.models voxgraft.imaging.inspection voxgraft.runs.checking"
)


def test_no_module_hides_a_public_name(repo_path) -> None:
    """A submodule of the same name would take a function's place as soon as it is imported."""
    code = (
        "import importlib, voxgraft as vg\n"
        f"for name in {MODULES!r}.split(): importlib.import_module(name)\n"
        "print(*[name for name in vg.__all__ if not callable(getattr(vg, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=repo_path, check=True)
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    path = workflow(folder, boxes(folder / "data"))
    text = path.read_text()
    start = text.index("tracking:")
    path.write_text(text[:start] + "tracking: null\n" + text[text.index("registry:") :])
    return vg.run(path, out=folder / "run", training__budget="40 steps")


def test_a_workflow_is_run_and_its_model_segments(run, tmp_path) -> None:
    assert run.workflow.training.budget.amount == 40
    scans = sorted((run.folder.parent / "data" / "imagesTr").glob("*.nii.gz"))[:2]
    batch = vg.segment(run.package, scans, tmp_path / "batch")
    document = batch.document()
    assert (document["done"], document["failed"]) == (2, 0)
    mask = vg.read(tmp_path / "batch" / document["scans"][0]["case"] / "mask.nii.gz")
    scan = vg.read(scans[0])
    assert mask.shape == scan.shape and np.allclose(mask.affine, scan.affine)


def test_masks_are_scored(run, tmp_path) -> None:
    label = run.folder.parent / "data" / "labelsTr" / "box_000.nii.gz"
    scores = vg.evaluate(label, label, ["dice", "hd95"])
    (case,) = scores.cases.values()
    assert case["dice"]["mean"] == 1.0 and case["hd95"]["mean"] == 0.0


def test_what_is_wrong_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(vg.VoxGraftError, match="there is no such"):
        vg.read(tmp_path / "absent.nii.gz")
    with pytest.raises(vg.VoxGraftError, match="there is no such workflow"):
        vg.run(tmp_path / "absent.yaml")


def test_the_catalogue_and_volumes() -> None:
    assert vg.catalogue().get("decoder", "unet").name == "unet"
    volume = vg.Volume(np.zeros((2, 3, 4, 5)), np.diag([2.0, 3.0, 4.0, 1.0]))
    assert volume.channels == 2 and volume.shape == (3, 4, 5) and volume.spacing == (2.0, 3.0, 4.0)
    assert volume.voxel_ml == pytest.approx(0.024)
    for affine in (np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4))):
        with pytest.raises(ValueError, match="affine"):
            vg.Volume(np.zeros((3, 4, 5)), affine)
    with pytest.raises(ValueError, match="not a volume of"):
        vg.Volume(np.zeros(3), np.eye(4))


class TestInMemory:
    def test_a_volume_gives_the_mask_that_a_batch_writes(self, run, tmp_path) -> None:
        path = run.folder.parent / "data" / "imagesTr" / "box_000.nii.gz"
        scan = vg.read(path)
        mask = vg.segment(run.package, scan, device="cpu")
        vg.segment(run.package, path, tmp_path / "batch")
        written = vg.read(tmp_path / "batch" / "box_000" / "mask.nii.gz")
        assert np.array_equal(mask.array, written.array) and np.allclose(mask.affine, scan.affine)
        (again,) = vg.segment(run.package, [scan])
        assert np.array_equal(again.array, mask.array)

    def test_an_array_needs_its_spacing(self, run) -> None:
        array = np.random.default_rng(0).normal(100, 20, (20, 18, 16))
        assert vg.segment(run.package, array, spacing=(1, 1, 1.5)).spacing == (1.0, 1.0, 1.5)
        with pytest.raises(vg.VoxGraftError, match="does not say how large its voxels are"):
            vg.segment(run.package, array)
        for spacing in ((1, 1), (1, 1, 0), (1, 1, np.nan), (1, 1, 1, 1)):
            with pytest.raises(vg.VoxGraftError, match="voxel size along each axis"):
                vg.segment(run.package, array, spacing=spacing)

    def test_a_scan_that_the_model_is_not_for_is_refused(self, run) -> None:
        coarse = vg.Volume(np.ones((20, 18, 16)), np.diag([1.0, 1.0, 9.0, 1.0]))
        with pytest.raises(vg.VoxGraftError, match=r"scan 1: does not fit the model.*ignore_contract=True"):
            vg.segment(run.package, coarse)
        with pytest.warns(UserWarning, match="scan 1"):
            assert vg.segment(run.package, coarse, ignore_contract=True).shape == coarse.shape
        with pytest.raises(vg.VoxGraftError, match="channels"):
            vg.segment(run.package, vg.Volume(np.ones((2, 20, 18, 16)), np.diag([1.0, 1.0, 1.5, 1.0])))

    def test_a_wrong_call_is_answered_in_a_sentence(self, run, tmp_path) -> None:
        scan = vg.Volume(np.ones((20, 18, 16)), np.eye(4))
        for inputs, out, options, words in (
            ("a.nii.gz", None, {}, "needs out="),
            (scan, tmp_path, {}, "drop out="),
            (["a.nii.gz", scan], None, {}, "needs out="),
            (scan, None, {"writers": ["nifti"]}, "no option 'writers'"),
            ([None], None, {}, "NoneType: is not an image"),
        ):
            with pytest.raises(vg.VoxGraftError, match=words):
                vg.segment(run.package, inputs, out, **options)

    def test_volumes_and_arrays_are_scored_as_files_are(self, tmp_path) -> None:
        reference = vg.Volume(np.zeros((12, 12, 12), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]))
        reference.array[3:7, 3:7, 3:7] = 1
        shifted = reference.with_array(np.roll(reference.array, 1, axis=2))
        paths = [vg.write(mask, tmp_path / name) for mask, name in ((shifted, "p.nii.gz"), (reference, "r.nii.gz"))]
        metrics = ["dice", "hd95"]
        expected = vg.evaluate(*paths, metrics).document()["summary"]
        assert expected["hd95"]["1"]["mean"] == 2.0
        for pair in ((shifted, reference), (paths[0], reference), (shifted.array, reference)):
            assert vg.evaluate(*pair, metrics).document()["summary"] == expected
        arrays = vg.evaluate(shifted.array, reference.array, metrics, spacing=(1, 1, 2))
        assert arrays.document()["summary"] == expected
        assert vg.evaluate(shifted, reference, ["dice"], labels="box=1").summary["dice"].keys() >= {"box"}

    def test_several_masks_are_matched_and_a_bad_one_fails_alone(self) -> None:
        mask = vg.Volume(np.eye(8, dtype=np.uint8)[..., None].repeat(8, 2), np.eye(4))
        other = vg.Volume(np.zeros((8, 8, 9), np.uint8), np.eye(4))
        scores = vg.evaluate({"a": mask, "b": other}, {"a": mask, "b": mask}, ["dice"])
        assert list(scores.cases) == ["a"] and "8x8x9" in scores.failed["b"]
        assert list(vg.evaluate([mask, mask], [mask, mask], ["dice"]).cases) == ["1", "2"]
        for call, words in (
            ((other, mask), "8x8x9"),
            (([mask], [mask, mask]), "'2' is on one side only"),
            (({}, {}), "nothing to compare"),
            ((mask, 3), "int: is not a mask"),
            ((mask.array, mask.array), "how large its voxels"),
            ((mask.with_array(mask.array * 0.5), mask), "whole numbers"),
        ):
            with pytest.raises(vg.VoxGraftError, match=words):
                vg.evaluate(*call, ["dice"])


def test_the_commands_have_functions_that_refuse_as_they_do(tmp_path: Path) -> None:
    for call, words in (
        (lambda: vg.check(tmp_path / "absent"), "no such workflow file or folder"),
        (lambda: vg.check(tmp_path, training__budget="1 step"), "a folder has nothing to be changed"),
        (lambda: vg.new(), "name the FOLDER"),
        (lambda: vg.new(tmp_path, out=tmp_path), "already exists"),
        (lambda: vg.inspect(tmp_path / "absent"), "no such"),
        (lambda: vg.convert(tmp_path / "absent", tmp_path / "a.nii.gz"), "no such"),
        (lambda: vg.convert(tmp_path, tmp_path / "a.nii.gz", colour="red"), "no option 'colour'"),
        (lambda: vg.compare([tmp_path]), "two or more different runs"),
        (lambda: vg.compare([tmp_path, tmp_path / "b"], colour="red"), "known are every_pair, test, correction"),
        (lambda: vg.advise(tmp_path / "absent.yaml", minutes=0), "minutes=0"),
        (lambda: vg.models(f"sqlite:///{tmp_path}/absent.db").list(), "there is no registry"),
        (lambda: vg.models().export("box", tmp_path / "box.tar"), "ends with"),
    ):
        with pytest.raises(vg.VoxGraftError, match=words):
            call()


@pytest.mark.parametrize("spacing", [1.0, "1 mm", (1, "two", 3), (1,), (0, 1, 1), (1, 1, float("nan")), None])
def test_a_spacing_that_is_none_is_a_wrong_call(spacing: Any) -> None:
    mask = np.ones((4, 4, 4), np.uint8)
    with pytest.raises(UsageError, match="spacing"):
        vg.evaluate(mask, mask, spacing=spacing)
