"""Worklists: the scans that an input holds, those the model takes and why not the others, and what they are called."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import AFFINE, CONTRACT, ball, write_scan
from worklist_studies import COARSE, found, item, plan_of, states, study

from dicom_series import make_series
from voxgraft.batch.contract import Level, judge, select
from voxgraft.batch.worklist import Finder
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError
from voxgraft.imaging.volume import Problem


def test_a_scan_like_those_of_training_fits(tmp_path: Path) -> None:
    assert judge(item(modality="MR"), plan_of(tmp_path)).level == Level.FITS
    assert judge(item(), plan_of(tmp_path)).level == Level.FITS, "what a header does not say is not held against it"


def test_the_order_of_axes_is_that_of_the_body_not_of_the_file(tmp_path: Path) -> None:
    sagittal = AFFINE[:, [2, 0, 1, 3]]
    assert judge(item(sagittal, (14, 26, 24)), plan_of(tmp_path)).level == Level.FITS
    assert judge(item(np.diag([1.5, 1, 1, 1]), (14, 26, 24)), plan_of(tmp_path)).level == Level.DOUBTFUL


@pytest.mark.parametrize(
    ("changes", "level", "word"),
    [
        ({"affine": np.diag([0.5, 0.5, 1.5, 1])}, Level.DOUBTFUL, "0.5 x 0.5 x 1.5"),
        ({"affine": np.diag([1.0, 1.0, 2.9, 1])}, Level.DOUBTFUL, "in training 1 x 1 x 1-1.5 mm"),
        ({"affine": np.diag([1.0, 1.0, 3.1, 1])}, Level.UNFIT, "3.1 mm"),
        ({"shape": (100, 24, 14)}, Level.DOUBTFUL, "100 x 24 x 21 mm large"),
        ({"modality": "CT"}, Level.UNFIT, "it is CT, the model was trained on MR"),
        ({"channels": 3}, Level.IMPOSSIBLE, "3 channels"),
        ({"shape": (26, 24)}, Level.IMPOSSIBLE, "2 axes"),
    ],
)
def test_how_far_a_scan_may_differ(tmp_path: Path, changes: dict[str, Any], level: Level, word: str) -> None:
    verdict = judge(item(**changes), plan_of(tmp_path))
    assert verdict.level == level and word in str(verdict)


def test_a_model_without_a_contract_takes_what_the_network_takes(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, contract={})
    assert judge(item(COARSE, modality="CT"), plan).level == Level.FITS
    assert judge(item(channels=2), plan).level == Level.IMPOSSIBLE


def test_of_several_series_those_that_fit_best_are_taken(tmp_path: Path) -> None:
    fits, near, far = item(series="a"), item(shape=(90, 24, 14), series="b"), item(COARSE, series="c")
    plan = plan_of(tmp_path)
    assert [one.series for one, _ in select([near, fits, far], plan).taken] == ["a"]
    assert [one.series for one, _ in select([near, far], plan).taken] == ["b"]
    assert not select([far], plan).taken and "--ignore-contract" in select([far], plan).refused
    assert [one.series for one, _ in select([fits, near, far], plan, force=True).taken] == ["a", "b", "c"]


def test_a_damaged_series_that_would_fit_is_not_passed_over(tmp_path: Path) -> None:
    gap = Problem("missing-slice", "a slice is missing")
    fits, broken = item(series="a"), item(series="b", problems=(gap,))
    other, shapeless = item(COARSE, series="c", problems=(gap,)), item(np.eye(4), series="d", problems=(gap,))
    selection = select([fits, broken, other, shapeless], plan_of(tmp_path))
    assert [one.series for one, _ in selection.taken] == ["a", "b"]
    assert [one.series for one, _ in selection.left_out] == ["c", "d"]


@pytest.mark.parametrize(
    ("changes", "level", "word"),
    [
        ({}, Level.FITS, ""),
        ({"description": "ax T1 PRE"}, Level.FITS, ""),
        ({"description": "FLAIR"}, Level.UNFIT, "its description 'FLAIR' is none of those that training took (*t1*)"),
        ({"description": "T1 MIP"}, Level.UNFIT, "left out (*mip*)"),
        ({"description": None}, Level.DOUBTFUL, "no description"),
        ({"modality": "MR", "affine": AFFINE[:, [2, 0, 1, 3]], "shape": (14, 26, 24)}, Level.UNFIT, "are coronal"),
        ({"modality": "OT"}, Level.UNFIT, "it is OT"),
        ({"series": None, "description": "FLAIR"}, Level.FITS, ""),
    ],
)
def test_the_rule_that_chose_the_series_of_training_chooses_them_again(
    tmp_path: Path, changes: dict[str, Any], level: Level, word: str
) -> None:
    rule = {"takes": ["*t1*"], "leaves": ["*mip*"], "modality": ["MR"], "orientation": ["axial"]}
    plan = plan_of(tmp_path, contract={**CONTRACT, "series": rule})
    verdict = judge(item(**{"series": "1.2", "description": "T1", "modality": "MR", **changes}), plan)
    assert verdict.level == level and word in str(verdict)


def test_a_rule_of_training_chooses_among_series_of_one_grid(tmp_path: Path, catalogue: Catalogue) -> None:
    for name in ("T1", "T2", "FLAIR"):
        make_series(
            tmp_path / "in" / name, ball(), AFFINE, Modality="MR", SeriesDescription=name, StudyInstanceUID="1.2.3"
        )
    plan = plan_of(tmp_path, contract={**CONTRACT, "series": {"takes": ["T2*"]}})
    entries = found(tmp_path, catalogue, tmp_path / "in", plan=plan)
    assert states(entries) == {"T1": "left-out", "T2": "waiting", "FLAIR": "left-out"}
    assert not any(entry.flags for entry in entries)
    (alone,) = found(tmp_path, catalogue, tmp_path / "in" / "FLAIR", plan=plan)
    assert (alone.state, alone.code) == ("failed", "contract") and "T2*" in alone.reason


def test_the_models_contract_chooses_among_the_series_of_a_study(tmp_path: Path, catalogue: Catalogue) -> None:
    entries = found(tmp_path, catalogue, study(tmp_path / "in", "night"))
    assert states(entries) == {"s1": "waiting", "s2": "left-out", "s3": "left-out"}
    reasons = {entry.case: entry.reason for entry in entries}
    assert "6 mm" in reasons["s2"] and "it is CT" in reasons["s3"]


def test_the_real_study_gives_the_crop_the_model_was_trained_for(
    tmp_path: Path, catalogue: Catalogue, data: Path
) -> None:
    ranges = {"spacing_mm": [[1.0, 1.0]] * 3, "size_mm": [[31.0, 43.0], [40.0, 59.0], [24.0, 47.0]], "modality": ["MR"]}
    plan = plan_of(tmp_path, contract=ranges)
    entries = found(tmp_path, catalogue, data / "dicom_study", plan=plan)
    assert states(entries) == {
        "13_HCropVolume": "waiting",
        "12-T1post-05670": "left-out",
        "36459-FLAIRreg-76244": "left-out",
    }
    assert all("0.43" in entry.reason for entry in entries if entry.state == "left-out")
    assert not next(entry for entry in entries if entry.state == "waiting").flags


def test_a_study_without_a_fitting_series_fails_with_the_reasons(tmp_path: Path, catalogue: Catalogue) -> None:
    tree = tmp_path / "in"
    study(tree, "one")
    root = study(tree, "two")
    for file in (root / "s1").iterdir():
        file.unlink()
    entries = found(tmp_path, catalogue, tree)
    failed = [entry for entry in entries if entry.state == "failed"]
    assert len(failed) == 1 and failed[0].case == "two" and failed[0].code == "contract"
    assert "FLAIR" in failed[0].reason and "it is CT" in failed[0].reason
    assert sum(entry.state == "waiting" for entry in entries) == 1


def test_a_named_series_is_taken_and_the_others_left_out(tmp_path: Path, catalogue: Catalogue) -> None:
    tree = tmp_path / "in"
    study(tree, "one")
    study(tree, "two")
    entries = found(tmp_path, catalogue, tree, wanted="FLAIR")
    assert states(entries) == {
        "one-s1": "left-out",
        "one-s2": "waiting",
        "one-s3": "left-out",
        "two-s1": "left-out",
        "two-s2": "waiting",
        "two-s3": "left-out",
    }
    assert [flag.code for entry in entries for flag in entry.flags] == ["out-of-contract"] * 2


def test_a_study_without_the_named_series_is_left_out(tmp_path: Path, catalogue: Catalogue) -> None:
    tree = tmp_path / "in"
    study(tree, "one")
    for file in (study(tree, "two") / "s2").iterdir():
        file.unlink()
    make_series(tree / "three", ball(), AFFINE, Modality="MR", SeriesDescription="T2", StudyInstanceUID="1.9")
    entries = found(tmp_path, catalogue, tree, wanted="FLAIR")
    assert [entry.case for entry in entries if entry.state == "waiting"] == ["s2"]
    assert not [entry for entry in entries if entry.state == "failed"]
    absent = [entry for entry in entries if entry.code == "no-series"]
    assert len(absent) == 2 and all("has no series 'FLAIR'" in entry.reason for entry in absent)
    worklist = tmp_path / "list.csv"
    worklist.write_text(f"path,series\n{tree / 'one'},FLAIR\n{tree / 'two'},FLAIR\n")
    rows = found(tmp_path, catalogue, worklist)
    assert [entry.state for entry in rows if entry.code == "no-series"] == ["failed"]


def test_a_named_uid_means_one_series_of_one_study(tmp_path: Path, catalogue: Catalogue) -> None:
    tree = tmp_path / "in"
    study(tree, "one")
    study(tree, "two")
    entries = found(tmp_path, catalogue, tree, wanted=f"1.3.{sum(map(ord, 'two'))}.3")
    assert [entry.case for entry in entries if entry.state == "waiting"] == ["s3"]
    assert not [entry for entry in entries if entry.state == "failed"]


def test_a_series_that_is_nowhere_is_a_wrong_call(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"--series T9: no input has this series.*T1"):
        found(tmp_path, catalogue, study(tmp_path / "in", "night"), wanted="T9")


def test_two_series_that_fit_are_both_taken_and_flagged(tmp_path: Path, catalogue: Catalogue) -> None:
    for name in ("a", "b"):
        make_series(tmp_path / "in" / name, ball(), AFFINE, Modality="MR", StudyInstanceUID="1.2.3")
    entries = found(tmp_path, catalogue, tmp_path / "in")
    assert [[flag.code for flag in entry.flags] for entry in entries] == [["several-series"]] * 2


def test_files_of_a_folder_stand_each_for_itself(tmp_path: Path, catalogue: Catalogue) -> None:
    write_scan(tmp_path / "in" / "near.nii.gz", ball((60, 24, 14)))
    write_scan(tmp_path / "in" / "fits.nii.gz")
    write_scan(tmp_path / "in" / "far.nii.gz", affine=COARSE)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    entries = found(tmp_path, catalogue, tmp_path / "in")
    assert states(entries) == {"far": "failed", "fits": "waiting", "near": "waiting"}
    assert [flag.code for flag in entries[2].flags] == ["out-of-contract"]
    forced = found(tmp_path, catalogue, tmp_path / "in" / "far.nii.gz", force=True)
    assert states(forced) == {"far": "waiting"} and forced[0].flags[0].code == "out-of-contract"


def test_a_scan_named_twice_is_one_scan(tmp_path: Path, catalogue: Catalogue) -> None:
    one = write_scan(tmp_path / "in" / "one.nii.gz")
    assert len(found(tmp_path, catalogue, one, tmp_path / "in", one)) == 1


def test_the_results_of_an_earlier_call_are_no_scans(tmp_path: Path, catalogue: Catalogue) -> None:
    write_scan(tmp_path / "out" / "a.nii.gz")
    write_scan(tmp_path / "out" / "a" / "mask.nii.gz")
    assert states(found(tmp_path, catalogue, tmp_path / "out", ours=frozenset(["a"]))) == {"a": "waiting"}


def test_the_results_of_another_batch_are_no_scans_either_unless_they_are_named(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz")
    write_scan(tmp_path / "in" / "own" / "b.nii.gz")
    (tmp_path / "in" / "own" / "report.json").write_text("{}")
    mask = write_scan(tmp_path / "in" / "batch" / "a" / "mask.nii.gz")
    write_scan(tmp_path / "in" / "batch" / "a" / "mask.corrected-1.nii.gz")
    (mask.parent / "report.json").write_text("{}")
    (tmp_path / "in" / "batch" / "ledger.sqlite").touch()
    said: list[str] = []
    finder = Finder(catalogue, plan_of(tmp_path), tmp_path / "out")
    assert [entry.given.name for entry in finder.find([tmp_path / "in"], said.append)] == ["a.nii.gz", "b.nii.gz"]
    assert [line for line in said if "results of another batch" in line and str(tmp_path / "in" / "batch") in line]
    with pytest.raises(UsageError, match="no scan to segment"):
        finder.find([tmp_path / "in" / "batch"])
    assert [entry.given for entry in finder.find([mask])] == [mask]


@pytest.mark.parametrize("stored, typed", [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
def test_a_series_is_named_by_its_description_however_accents_are_encoded(
    tmp_path: Path, catalogue: Catalogue, stored: Any, typed: Any
) -> None:
    name = "Sch\u00e4del T1"
    changes = {"Modality": "MR", "SpecificCharacterSet": "ISO_IR 192", "StudyInstanceUID": "1.2.1"}
    description = unicodedata.normalize(stored, name)
    make_series(
        tmp_path / "in" / "a", ball(), AFFINE, SeriesInstanceUID="1.3.1", SeriesDescription=description, **changes
    )
    make_series(tmp_path / "in" / "b", ball(), AFFINE, SeriesInstanceUID="1.3.2", SeriesDescription="T2", **changes)
    entries = found(tmp_path, catalogue, tmp_path / "in", wanted=unicodedata.normalize(typed, name))
    assert {entry.given.name: entry.state for entry in entries} == {"a": "waiting", "b": "left-out"}
