"""DICOM objects of structures are scored against masks in files, and the step `evaluate` leaves all it should."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import boxes, workflow

from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.read import scan
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.runs.engine import run_workflow
from voxgraft.scoring.paths import evaluate_paths
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

LABELS = Labels.of({"liver": 1, "spleen": 2})


class TestObjects:
    @pytest.fixture
    def files(self, tmp_path: Path, catalogue: Catalogue) -> tuple[Path, Path, Path]:
        """A NIfTI mask and a SEG of the same series, and a NIfTI mask that differs in one slice."""
        affine = np.diag([-0.9, -0.8, 2.5, 1.0])
        affine[:3, 3] = [31.4, -27.1, 8.2]
        make_series(tmp_path / "scan", np.arange(20 * 18 * 9, dtype=np.int16).reshape(20, 18, 9), affine)
        (item,) = scan(tmp_path / "scan", catalogue)
        mask = np.zeros(item.shape, np.uint8)
        mask[3:9, 4:12, 2:6], mask[11:15, 4:12, 3:7] = 1, 2
        one = Volume(mask, item.affine, item=item)
        other = one.with_array(np.where(np.arange(9) == 4, 0, mask).astype(np.uint8))
        paths = tmp_path / "true.nii.gz", tmp_path / "true.dcm", tmp_path / "less.nii.gz"
        for path, volume in zip(paths, (one, one, other), strict=True):
            write(volume, path, catalogue, labels=LABELS, facts={"model": "m"})
        return paths

    def test_a_seg_is_a_reference_or_a_prediction_in_the_other_grid(self, files, catalogue) -> None:
        true, seg, less = files
        expected = evaluate_paths(less, true, ["dice", "hd95"], catalogue, LABELS).summary
        for pair in ((less, seg), (seg, less)):
            found = evaluate_paths(*pair, ["dice", "hd95"], catalogue, LABELS)
            assert not found.failed and str(found.summary["dice"]) == str(expected["dice"])
            assert found.summary["hd95"]["liver"]["mean"] == pytest.approx(expected["hd95"]["liver"]["mean"])
        assert evaluate_paths(true, seg, ["dice"], catalogue, LABELS).summary["dice"]["mean"]["mean"] == 1.0

    def test_objects_without_names_are_refused_beside_values(self, files, catalogue) -> None:
        true, seg, _ = files
        unnamed = evaluate_paths(true, seg, ["dice"], catalogue).failed
        assert "--labels" in next(iter(unnamed.values()))

    def test_an_object_of_another_place_is_refused(self, files, catalogue, tmp_path) -> None:
        moved = nib.load(files[2])
        affine = moved.affine.copy()
        affine[0, 3] += 40
        nib.save(nib.Nifti1Image(np.asanyarray(moved.dataobj), affine), tmp_path / "moved.nii.gz")
        failed = evaluate_paths(tmp_path / "moved.nii.gz", files[1], ["dice"], catalogue, LABELS).failed
        assert len(failed) == 1


def test_the_step_leaves_scores_a_table_and_a_page(tmp_path: Path, catalogue: Catalogue) -> None:
    """With calibration from the network's own probabilities, micro averages, and the worst cases on their scans."""
    changes = {"metrics: [dice, iou]": "metrics: [dice, hd95, {use: ece, margin: 6}]"}
    data_set = boxes(tmp_path / "boxes")
    checked = read(workflow(tmp_path, data_set, **changes), catalogue, ["tracking=null"])
    run = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    folder = run.folder / "evaluate"
    document = json.loads((folder / "scores.json").read_text())
    assert set(document["micro"]) == {"dice"} and set(document["calibration"]) == {"box"}
    held_out = len(document["cases"])
    sizes = [np.prod(nib.load(data_set / "labelsTr" / f"{case}.nii.gz").shape) for case in document["cases"]]
    assert 0 < sum(document["calibration"]["box"]["voxels"]) < sum(sizes)
    eces = [found["ece"]["box"] for found in document["cases"].values()]
    assert all(value is not None and 0 <= value <= 1 for value in eces)
    assert (folder / "scores.csv").read_text().count("\n") == 1 + held_out * 3 * 2
    page = (folder / "scores.html").read_text()
    assert page.count("data:image/jpeg") == 2 * held_out and "Calibration" in page
