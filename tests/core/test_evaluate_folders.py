"""`voxgraft evaluate`: files and folders of masks, matched by name, and the command."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from evaluate_masks import AFFINE, LABELS, mask

from dicom_series import make_series
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import DataError
from voxgraft.imaging.structures import Labels
from voxgraft.scoring.naming import read_labels
from voxgraft.scoring.paths import evaluate_paths
from voxgraft.scoring.scores import Scores


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three references and their predictions, the first perfect."""
    for seed in range(3):
        write(tmp_path / "references" / f"scan_{seed}.nii.gz", mask(seed))
        write(tmp_path / "predictions" / f"scan_{seed}.nii.gz", mask(0))
    return tmp_path / "predictions", tmp_path / "references"


class TestFolders:
    def test_masks_are_matched_by_name(self, folders, catalogue) -> None:
        scores = evaluate_paths(*folders, ["dice"], catalogue, LABELS)
        assert list(scores.cases) == ["scan_0", "scan_1", "scan_2"]
        assert scores.cases["scan_0"]["dice"] == {"liver": 1.0, "spleen": 1.0, "mean": 1.0}
        found, wanted = mask(0) == 1, mask(1) == 1
        assert scores.cases["scan_1"]["dice"]["liver"] == pytest.approx(
            2 * (found & wanted).sum() / (found.sum() + wanted.sum())
        )
        assert not scores.failed and not scores.unmatched

    def test_what_a_batch_leaves_is_matched_by_the_folders_of_its_scans(self, folders, catalogue, tmp_path) -> None:
        batch = tmp_path / "batch"
        for file in folders[0].iterdir():
            scan = batch / file.name.removesuffix(".nii.gz")
            scan.mkdir(parents=True)
            shutil.copy(file, scan / "mask.nii.gz")
            (scan / "mask.dcm").write_bytes(b"is not read")
            (scan / "preview.png").write_bytes(b"")
            (scan / "preview-plain.jpg").write_bytes(b"")
            (scan / "report.json").write_text("{}")
        (batch / "ledger.sqlite").write_bytes(b"")
        (batch / "report.html").write_text("")
        ours, theirs = (evaluate_paths(p, folders[1], ["dice"], catalogue, LABELS) for p in (batch, folders[0]))
        assert ours == theirs and len(ours.cases) == 3

    def test_endings_may_differ_and_upper_case_is_an_ending(self, folders, catalogue) -> None:
        write(folders[0] / "plain.nii", mask(5))
        (folders[0] / "scan_1.nii.gz").rename(folders[0] / "scan_1.NII.GZ")
        write(folders[1] / "plain.nii.gz", mask(5))
        scores = evaluate_paths(*folders, ["dice"], catalogue, LABELS)
        assert list(scores.cases) == ["plain", "scan_0", "scan_1", "scan_2"]

    def test_hidden_files_are_no_masks(self, folders, catalogue) -> None:
        for folder in folders:
            (folder / "._scan_0.nii.gz").write_bytes(b"what a file system leaves")
        (folders[1] / "._scan_9.nii.gz").write_bytes(b"")
        scores = evaluate_paths(*folders, ["dice"], catalogue, LABELS)
        assert len(scores.cases) == 3 and not scores.failed

    def test_one_bad_case_fails_alone(self, folders, catalogue) -> None:
        predictions, references = folders
        whole = (predictions / "scan_0.nii.gz").read_bytes()
        (predictions / "scan_0.nii.gz").write_bytes(whole[: len(whole) // 2])
        write(predictions / "scan_1.nii.gz", mask(1), np.diag([1.0, 1.5, 2.5, 1.0]))
        write(references / "scan_3.nii.gz", mask(1))
        write(predictions / "other.nii.gz", mask(1))
        write(predictions / "twice.nii.gz", mask(1))
        write(predictions / "twice.nii", mask(1))
        write(references / "twice.nii.gz", mask(1))
        write(predictions / "strange.nii.gz", mask(1) + np.uint8(2))
        write(references / "strange.nii.gz", mask(1))
        scores = evaluate_paths(*folders, ["dice"], catalogue, LABELS)
        assert list(scores.cases) == ["scan_2"] and scores.unmatched == ("other",)
        assert list(scores.failed) == ["scan_0", "scan_1", "scan_3", "strange", "twice"]
        assert "scan_0.nii.gz" in scores.failed["scan_0"]
        assert "mm apart" in scores.failed["scan_1"] and "scan_1.nii.gz" in scores.failed["scan_1"]
        assert "no prediction for scan_3.nii.gz" in scores.failed["scan_3"]
        assert "twice.nii and twice.nii.gz have the same name" in scores.failed["twice"]
        assert "the values 3, 4, which no structure has" in scores.failed["strange"]

    def test_two_files_are_one_case(self, folders, catalogue) -> None:
        predictions, references = folders
        scores = evaluate_paths(predictions / "scan_2.nii.gz", references / "scan_1.nii.gz", ["iou"], catalogue, LABELS)
        assert list(scores.cases) == ["scan_1"]

    def test_without_names_each_value_is_a_structure_of_every_case(self, folders, catalogue) -> None:
        only = np.zeros((6, 5, 4), np.uint8)
        only[1:3, 1:3, 1:3] = 7
        for folder in folders:
            write(folder / "seven.nii.gz", only)
            write(folder / "void.nii.gz", np.zeros((6, 5, 4), np.uint8))
        metrics = ["dice", "accuracy", "hd95", "volume-difference"]
        found = evaluate_paths(*folders, metrics, catalogue)
        named = evaluate_paths(*folders, metrics, catalogue, Labels.of({"1": 1, "2": 2, "7": 7}))
        assert found.document() == named.document()
        assert list(found.cases["void"]["dice"]) == ["1", "2", "7", "mean"]
        assert math.isnan(found.cases["void"]["dice"]["7"]) and found.cases["void"]["accuracy"]["7"] == 1.0

    def test_an_image_is_not_taken_for_a_mask(self, tmp_path, catalogue) -> None:
        image = np.arange(20**3, dtype=np.int16).reshape(20, 20, 20)
        paths = write(tmp_path / "p" / "a.nii.gz", image), write(tmp_path / "r" / "a.nii.gz", image)
        assert "images and not masks" in evaluate_paths(*paths, ["dice"], catalogue).failed["a"]

    @pytest.mark.parametrize(
        ("predictions", "references", "complaint"),
        [
            ("nowhere", "references", "nowhere: there is no such file or folder"),
            ("predictions", "references/scan_0.nii.gz", "name two files, or two folders"),
            ("predictions", "void", "there is no mask in this folder"),
            ("void", "references", "holds no mask"),
            ("others", "references", "others holds x, .*references holds scan_0, scan_1, scan_2"),
        ],
    )
    def test_a_call_that_finds_nothing_says_so(self, folders, catalogue, predictions, references, complaint) -> None:
        root = folders[0].parent
        (root / "void").mkdir()
        write(root / "others" / "x.nii.gz", mask(1))
        with pytest.raises(DataError, match=complaint):
            evaluate_paths(root / predictions, root / references, ["dice"], catalogue)

    def test_real_masks_agree_with_themselves_and_not_with_their_neighbours(self, data, catalogue, tmp_path) -> None:
        files = sorted((data / "hippocampus" / "labelsTr").glob("hippocampus_*.nii.gz"))[:3]
        for file in files:
            shutil.copy(file, tmp_path)
        labels = read_labels(str(data / "hippocampus" / "dataset.json"))
        summary = evaluate_paths(tmp_path, tmp_path, ["dice", "hd95", "nsd"], catalogue, labels).summary
        assert [summary[metric]["mean"]["mean"] for metric in ("dice", "hd95", "nsd")] == [1.0, 0.0, 1.0]
        assert summary["dice"]["mean"]["n"] == 3 and set(summary["dice"]) == {*labels.names, "mean"}
        with pytest.raises(DataError, match="no prediction has the name"):
            evaluate_paths(tmp_path, data / "la2018" / "labels", ["dice"], catalogue)


class TestCommand:
    def call(self, *arguments: Any) -> Any:
        return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])

    def test_json_is_one_document_and_all_done_is_0(self, folders) -> None:
        done = self.call(*folders, "--labels", "liver=1,spleen=2", "--json")
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert set(document["summary"]) == {"dice", "iou", "hd95", "nsd"}
        assert {"mean", "ci95", "n"} <= document["summary"]["dice"]["liver"].keys()
        assert document["cases"]["scan_0"]["hd95"]["liver"] == 0.0

    def test_some_failed_is_3_and_all_failed_is_1(self, folders) -> None:
        for name, code in (("scan_0", 3), ("scan_1", 3), ("scan_2", 1)):
            (folders[0] / f"{name}.nii.gz").write_bytes(b"no image")
            done = self.call(*folders, "--json")
            assert done.exit_code == code
            assert name in json.loads(done.stdout)["failed"]

    def test_the_table_shows_means_and_failures(self, folders) -> None:
        (folders[0] / "scan_2.nii.gz").rename(folders[0] / "scan_9.nii.gz")
        done = self.call(*folders, "--metrics", "dice,hd95", "--labels", "liver=1,spleen=2")
        assert done.exit_code == 3
        rows = [line.split() for line in done.stdout.splitlines()]
        summary = evaluate_paths(*folders, ["dice", "hd95"], discover(), LABELS).summary
        assert rows[1][:3] == ["dice", "liver", f"{summary['dice']['liver']['mean']:.4f}"] and rows[1][-2:] == [
            "2",
            "0",
        ]
        assert "hd95 (mm)" in done.stdout and "2 cases scored, 1 failed" in done.stdout
        assert "scan_2" in done.stderr and "scan_9 has no reference" in done.stderr

    @pytest.mark.parametrize("suffix", [".json", ".csv"])
    def test_the_file_holds_every_value(self, folders, tmp_path, suffix) -> None:
        out = tmp_path / "new" / f"scores{suffix}"
        assert self.call(*folders, "--out", out, "--metrics", "dice").exit_code == 0
        if suffix == ".json":
            assert len(Scores.from_json(out).cases) == 3
        else:
            assert len(out.read_text().splitlines()) == 1 + 3 * 3

    @pytest.mark.parametrize(
        "wrong",
        [("--out", "scores.txt"), ("--metrics", "dicee"), ("--metrics", ""), ("--labels", "liver")],
    )
    def test_a_wrong_call_is_2_and_starts_nothing(self, folders, wrong) -> None:
        done = self.call(*folders, *wrong)
        assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1

    def test_what_is_not_there_is_said_in_a_sentence(self, folders) -> None:
        done = self.call(folders[0], folders[1] / "nowhere")
        assert done.exit_code == 2 and "nowhere" in done.stderr and not done.stdout


# Masks as series of slices


def sliced(folder: Path, value: int = 1, **changes: Any) -> Path:
    """A label map of 4 slices as DICOM, empty in the first, with 12 voxels of a value in each other."""
    array = np.zeros((8, 8, 4), np.int16)
    array[2:5, 2:6, 1:] = value
    make_series(folder, array, np.diag([-1.0, -1.0, 2.0, 1.0]), Modality="MR", **changes)
    return folder


def test_slices_of_the_same_names_in_two_folders_are_one_case(tmp_path: Path, catalogue: Catalogue) -> None:
    predicted, reference = sliced(tmp_path / "p"), sliced(tmp_path / "r", SeriesInstanceUID="1.2.9")
    scores = evaluate_paths(predicted, reference, ["dice"], catalogue)
    assert scores.cases == {"r": {"dice": {"1": 1.0, "mean": 1.0}}} and not scores.failed


def test_slices_of_two_series_in_one_folder_are_no_masks_by_themselves(tmp_path: Path, catalogue: Catalogue) -> None:
    mixed = sliced(tmp_path / "mixed", SeriesInstanceUID="1.2.8", name="a{:02d}.dcm")
    sliced(mixed, SeriesInstanceUID="1.2.9", name="b{:02d}.dcm")
    for predictions, references in ((mixed, mixed), (mixed, sliced(tmp_path / "p")), (tmp_path / "p", mixed)):
        with pytest.raises(DataError, match=r"mixed: holds slices of several series; put each series into a folder"):
            evaluate_paths(predictions, references, ["dice"], catalogue)


def test_slices_under_one_uid_of_two_patients_are_no_masks_by_themselves(tmp_path: Path, catalogue: Catalogue) -> None:
    mixed = sliced(tmp_path / "mixed", SeriesInstanceUID="1.2.8", name="a{:02d}.dcm")
    sliced(mixed, SeriesInstanceUID="1.2.8", PatientID="P2", name="b{:02d}.dcm")
    with pytest.raises(DataError, match="holds slices of several series"):
        evaluate_paths(mixed, mixed, ["dice"], catalogue)


def test_series_in_folders_of_their_own_and_files_of_one_slice_each_are_matched_by_name(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    for root in ("p", "r"):
        sliced(tmp_path / root / "one")
        sliced(tmp_path / root / "two", SeriesInstanceUID="1.2.9")
    assert set(evaluate_paths(tmp_path / "p", tmp_path / "r", ["dice"], catalogue).cases) == {"one", "two"}
    flat = tmp_path / "flat"
    for number in (1, 2):
        array = np.zeros((8, 8, 1), np.int16)
        array[:number] = 1
        uid = f"1.2.{number}"
        make_series(flat, array, np.eye(4), Modality="MR", SeriesInstanceUID=uid, name=f"c{number}.dcm")
    assert set(evaluate_paths(flat, flat, ["dice"], catalogue).cases) == {"c1", "c2"}
