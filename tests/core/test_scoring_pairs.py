"""Two masks of one scan are scored alike however they are stored: order of axes, scale of values, names, objects."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.read import scan
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.scoring.paths import Extras, evaluate_paths

AFFINE = np.diag([-0.9, -0.8, 2.5, 1.0])
AFFINE[:3, 3] = [31.4, -27.1, 8.2]
LABELS = Labels.of({"liver": 1, "spleen": 2})


def saved(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def masks() -> tuple[np.ndarray, np.ndarray]:
    """A reference, and a prediction that lacks one slice of each structure: Dice 12/13 of four slices, 3 of 4."""
    truth = np.zeros((20, 18, 9), np.uint8)
    truth[3:9, 4:12, 2:6], truth[11:15, 4:12, 3:7] = 1, 2
    return truth, np.where(np.arange(9) == 4, 0, truth).astype(np.uint8)


def dice(*paths: Path, catalogue: Catalogue, **more: Any) -> dict[str, float]:
    scores = evaluate_paths(*paths, ["dice"], catalogue, more.get("labels"), extras=more.get("extras"))
    assert not scores.failed, scores.failed
    (case,) = scores.cases.values()
    return {name: round(value, 6) for name, value in case["dice"].items() if name != "mean"}


EXPECTED = 2 * 3 / (4 + 3)


@pytest.mark.parametrize("codes", ["RAS", "LPI", "ASR", "SLP", "IPR"])
def test_axes_of_another_order_are_turned(tmp_path, catalogue, codes) -> None:
    truth, found = masks()
    image = nib.Nifti1Image(found, AFFINE)
    turned = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(tuple(codes)))
    nib.save(image.as_reoriented(turned), tmp_path / "p.nii.gz")
    reference = saved(tmp_path / "r.nii.gz", truth)
    expected = {"1": pytest.approx(EXPECTED, abs=1e-6), "2": pytest.approx(EXPECTED, abs=1e-6)}
    assert dice(tmp_path / "p.nii.gz", reference, catalogue=catalogue) == expected
    assert dice(reference, tmp_path / "p.nii.gz", catalogue=catalogue) == expected


def test_a_mask_in_another_place_is_still_refused(tmp_path, catalogue) -> None:
    truth, _ = masks()
    reference = saved(tmp_path / "r.nii.gz", truth)
    beside = saved(tmp_path / "p.nii.gz", truth[::-1], AFFINE @ np.diag([-1.0, 1, 1, 1]))
    assert "mm apart" in evaluate_paths(beside, reference, ["dice"], catalogue).failed["r"]


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.int32])
@pytest.mark.parametrize("side", ["prediction", "reference"])
def test_labels_that_were_stored_with_a_scale(tmp_path, catalogue, kind, side) -> None:
    """What nibabel makes of labels held as floats under the header of a whole-number type."""
    labels = np.zeros((16, 16, 8))
    labels.ravel()[:36] = np.arange(36)
    header = nib.Nifti1Header()
    header.set_data_dtype(kind)
    nib.save(nib.Nifti1Image(labels, np.eye(4), header), tmp_path / "scaled.nii.gz")
    assert nib.load(tmp_path / "scaled.nii.gz").dataobj.slope != 1
    plain = saved(tmp_path / "plain.nii.gz", labels.astype(np.uint8), np.eye(4))
    pair = (tmp_path / "scaled.nii.gz", plain) if side == "prediction" else (plain, tmp_path / "scaled.nii.gz")
    assert set(dice(*pair, catalogue=catalogue).values()) == {1.0}


@pytest.mark.parametrize("slope", [0.25, 1 / 255, 1.5])
def test_a_scaled_image_is_no_mask_and_the_scale_is_named(tmp_path, catalogue, slope) -> None:
    image = nib.Nifti1Image(np.arange(2048, dtype=np.int16).reshape(16, 16, 8), np.eye(4))
    image.header.set_slope_inter(slope, 0)
    image.to_filename(tmp_path / "p.nii.gz")
    plain = saved(tmp_path / "r.nii.gz", np.ones((16, 16, 8), np.uint8), np.eye(4))
    stored = nib.load(tmp_path / "p.nii.gz")
    stored = nib.Nifti1Image(np.asarray(stored.dataobj.get_unscaled()), np.eye(4))
    stored.header.set_slope_inter(slope, 0)
    stored.to_filename(tmp_path / "p.nii.gz")
    reason = evaluate_paths(tmp_path / "p.nii.gz", plain, ["dice"], catalogue).failed["r"]
    assert "whole numbers with a scale (slope" in reason


class TestObjects:
    @pytest.fixture
    def series(self, tmp_path: Path, catalogue: Catalogue) -> tuple[Path, Volume, Volume]:
        """A DICOM series, and two masks of it."""
        make_series(tmp_path / "scan", np.arange(20 * 18 * 9, dtype=np.int16).reshape(20, 18, 9), AFFINE)
        (item,) = scan(tmp_path / "scan", catalogue)
        affine = item.affine
        truth, found = (Volume(array, affine, item=item) for array in masks())
        return tmp_path / "scan", truth, found

    @staticmethod
    def of(series: Any, catalogue: Catalogue, writer: str, *labels: Labels) -> tuple[Path, Path]:
        scans, truth, found = series
        paths = scans.parent / "p.dcm", scans.parent / "r.dcm"
        for path, volume, one in zip(paths, (found, truth), labels, strict=True):
            write(volume, path, catalogue, labels=one, facts={"model": "m"}, writer=writer)
        return paths

    @pytest.mark.parametrize("given", [None, LABELS])
    @pytest.mark.parametrize("image", [False, True])
    def test_two_segs_are_matched_by_names(self, series, catalogue, given, image) -> None:
        """The prediction numbers the structures the other way round."""
        swapped = Labels((Label(1, "SPLEEN"), Label(2, "Liver")))
        scans, truth, found = series
        found = found.with_array(np.array([0, 2, 1], np.uint8)[found.array])
        paths = self.of((scans, truth, found), catalogue, "dicom-seg", swapped, LABELS)
        extras = Extras(images=scans) if image else None
        names = ("liver", "spleen")
        assert dice(*paths, catalogue=catalogue, labels=given, extras=extras) == {
            name: pytest.approx(EXPECTED, abs=1e-6) for name in names
        }

    def test_segs_of_other_names_are_matched_by_their_coded_terms(self, series, catalogue) -> None:
        terms = {"Leber": ("10200004", "SCT", "Liver"), "Milz": ("78961009", "SCT", "Spleen")}
        german = Labels(tuple(Label(n, name, terms[name]) for n, name in enumerate(terms, 1)))
        english = Labels(
            tuple(
                Label(n, name, terms[other])
                for n, (name, other) in enumerate(zip(("liver", "spleen"), terms, strict=True), 1)
            )
        )
        paths = self.of(series, catalogue, "dicom-seg", german, english)
        assert set(dice(*paths, catalogue=catalogue)) == {"liver", "spleen"}

    def test_two_sets_of_outlines_need_the_scan(self, series, catalogue) -> None:
        paths = self.of(series, catalogue, "dicom-rtstruct", LABELS, LABELS)
        failed = evaluate_paths(*paths, ["dice"], catalogue).failed
        assert "--images" in next(iter(failed.values()))
        found = dice(*paths, catalogue=catalogue, extras=Extras(images=series[0]))
        assert found == {name: pytest.approx(EXPECTED, abs=0.02) for name in ("liver", "spleen")}

    def test_objects_of_which_labels_name_nothing_are_refused(self, series, catalogue) -> None:
        paths = self.of(series, catalogue, "dicom-seg", LABELS, LABELS)
        failed = evaluate_paths(*paths, ["dice"], catalogue, Labels.of({"kidney": 1})).failed
        assert "--labels names none of them" in next(iter(failed.values()))

    def test_an_object_in_a_folder_of_its_own_is_a_case(self, series, catalogue, tmp_path) -> None:
        paths = self.of(series, catalogue, "dicom-seg", LABELS, LABELS)
        for side, path in zip(("predictions", "references"), paths, strict=True):
            (tmp_path / side / "case1").mkdir(parents=True)
            path.rename(tmp_path / side / "case1" / "IM0001")
        scores = evaluate_paths(tmp_path / "predictions", tmp_path / "references", ["dice"], catalogue)
        assert list(scores.cases) == ["case1"] and not scores.failed
        alone = evaluate_paths(tmp_path / "predictions/case1", tmp_path / "references/case1", ["dice"], catalogue)
        assert str(alone.summary) == str(scores.summary)


def test_segmentations_of_slicer_are_matched_by_their_names(tmp_path, catalogue) -> None:
    truth, found = masks()
    like = Volume(truth, AFFINE)
    write(like, tmp_path / "r.seg.nrrd", catalogue, labels=LABELS, facts={})
    other = Labels.of({"spleen": 1, "liver": 2})
    numbers = np.array([0, 2, 1], np.uint8)
    write(like.with_array(numbers[found]), tmp_path / "p.seg.nrrd", catalogue, labels=other, facts={})
    pair = tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd"
    expected = {"liver": pytest.approx(EXPECTED, abs=1e-6), "spleen": pytest.approx(EXPECTED, abs=1e-6)}
    assert dice(*pair, catalogue=catalogue) == expected
    assert dice(*pair, catalogue=catalogue, labels=LABELS) == expected
    values = saved(tmp_path / "v.nii.gz", truth)
    assert dice(pair[0], values, catalogue=catalogue, labels=LABELS) == expected


@pytest.mark.parametrize(("ours", "theirs"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_of_either_spelling_are_one_case(tmp_path, catalogue, ours, theirs) -> None:
    truth, found = masks()
    for n in range(2):
        saved(tmp_path / "p" / unicodedata.normalize(ours, f"Müller_{n}.nii.gz"), found)
        saved(tmp_path / "r" / unicodedata.normalize(theirs, f"Müller_{n}.nii.gz"), truth)
    scores = evaluate_paths(tmp_path / "p", tmp_path / "r", ["dice"], catalogue)
    assert list(scores.cases) == ["Müller_0", "Müller_1"] and not scores.failed and not scores.unmatched


def test_pictures_whose_palettes_differ_are_not_scored(tmp_path, catalogue) -> None:
    from test_palettes import GREEN_RED_BLUE, NUMBERS
    from test_palettes import saved as picture

    picture(tmp_path / "r.png")
    picture(
        tmp_path / "p.png",
        np.array([0, 2, 1, 3], np.uint8)[NUMBERS],
        [0, 0, 0, *GREEN_RED_BLUE[6:9], 0, 255, 0, 0, 0, 255],
    )
    reason = evaluate_paths(tmp_path / "p.png", tmp_path / "r.png", ["dice"], catalogue).failed["r"]
    assert "the palettes of the masks differ" in reason
