"""Worklists: the scans that an input holds, those the model takes and why not the others, and what they are called."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import AFFINE, CONTRACT, SHAPE, ball, model, write_scan

from dicom_series import make_series
from voxgraft.batch import worklist
from voxgraft.batch.contract import Level, judge, select
from voxgraft.batch.entry import Entry, with_ids
from voxgraft.batch.worklist import Finder, check_inputs
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError
from voxgraft.imaging.volume import Item, Problem
from voxgraft.preprocessing.plan import Plan

COARSE = np.diag([-1.0, 1.0, 6.0, 1.0])
TWO = {"channels": ("Flair", "T1c"), "contract": {**CONTRACT, "channels": 2}}


def plan_of(tmp_path: Path, **changes: Any) -> Plan:
    return model(tmp_path / "model", **changes).plan


def found(tmp_path: Path, catalogue: Catalogue, *inputs: Path, plan: Plan | None = None, **options: Any) -> list[Entry]:
    finder = Finder(catalogue, plan or plan_of(tmp_path), tmp_path / "out", **options)
    check_inputs(inputs, finder.plan, finder.out)
    return with_ids(finder.find(inputs), {})


def states(entries: list[Entry]) -> dict[str, str]:
    return {entry.case: entry.state for entry in entries}


def item(affine: Any = AFFINE, shape: tuple[int, ...] = SHAPE, **changes: Any) -> Item:
    return Item(Path("x.nii.gz"), "nifti", shape, np.asarray(affine, float), **changes)


def study(folder: Path, name: str, patient: str = "P1") -> Path:
    """A study of three series: one that fits the model, one far too coarse, one that is CT."""
    same = {"StudyInstanceUID": f"1.2.{sum(map(ord, name))}", "PatientID": patient}
    uid = f"1.3.{sum(map(ord, name))}"
    root = folder / name
    make_series(
        root / "s1", ball(), AFFINE, Modality="MR", SeriesDescription="T1", SeriesInstanceUID=f"{uid}.1", **same
    )
    thick = ball((26, 24, 6))
    make_series(
        root / "s2", thick, COARSE, Modality="MR", SeriesDescription="FLAIR", SeriesInstanceUID=f"{uid}.2", **same
    )
    make_series(
        root / "s3", ball(), AFFINE, Modality="CT", SeriesDescription="CT", SeriesInstanceUID=f"{uid}.3", **same
    )
    return root


# What fits


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


# What is found


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


def test_an_empty_folder_fails_by_itself(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "empty").mkdir()
    entries = found(tmp_path, catalogue, tmp_path / "empty", write_scan(tmp_path / "a.nii.gz"))
    assert states(entries) == {"empty": "failed", "a": "waiting"}


# What scans are called


def test_scans_are_called_by_their_files_and_by_folders_where_that_is_not_enough(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    for name in ("p1/T1.nii.gz", "p2/T1.nii.gz", "p2/odd name (2).nii.gz", "la_001_0000.nii"):
        write_scan(tmp_path / "in" / name)
    assert set(states(found(tmp_path, catalogue, tmp_path / "in"))) == {"p1-T1", "p2-T1", "odd-name-2", "la_001"}


def test_a_scan_keeps_its_name_whatever_comes_beside_it(tmp_path: Path) -> None:
    first = Entry((), Path("a/T1.nii.gz"), "../a/T1.nii.gz", root=Path("a/T1.nii.gz"))
    other = Entry((), Path("b/T1.nii.gz"), "../b/T1.nii.gz", root=Path("b/T1.nii.gz"))
    assert [entry.case for entry in with_ids([first], {})] == ["T1"]
    assert [entry.case for entry in with_ids([other, first], {first.key: "T1"})] == ["b-T1", "T1"]
    (entry,) = with_ids([first], {}, taken=["t1", "a-t1"])
    assert entry.case.startswith("T1-")


def test_no_name_holds_the_patients_id(tmp_path: Path, catalogue: Catalogue) -> None:
    root = study(tmp_path / "in", "Doe-4711-night", patient="4711")
    make_series(root / "4711_T1", ball(), AFFINE, Modality="MR", PatientID="4711", SeriesInstanceUID="1.9")
    entries = found(tmp_path, catalogue, tmp_path / "in")
    assert len(entries) == 4 and not [entry.case for entry in entries if "4711" in entry.case]


@pytest.mark.parametrize("name", ["ledger.sqlite", "..", "a/b", "x" * 300, "Лёгкие " * 40])
def test_names_are_safe_as_folders(tmp_path: Path, name: str) -> None:
    entry = Entry((), Path("in/x.nii.gz"), "../in/x.nii.gz", root=Path("in"), hint=name)
    (named,) = with_ids([entry], {})
    folder = tmp_path / f".tmp-12345-old-{named.case}"
    folder.mkdir()
    assert folder.parent == tmp_path and named.case.casefold() != "ledger.sqlite" and named.case[0] != "."


# CSV worklists and channels


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_worklist_names_scans_beside_it(tmp_path: Path, catalogue: Catalogue, delimiter: str) -> None:
    write_scan(tmp_path / "list" / "scans" / "a.nii.gz")
    rows = [["Case", "path", "note"], ["first", "scans/a.nii.gz", "x"], ["second", "scans/none.nii.gz", ""], []]
    text = "\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "list" / "night.csv").write_text(f"\ufeff{text}\n", encoding="utf-8")
    entries = found(tmp_path, catalogue, tmp_path / "list" / "night.csv")
    assert states(entries) == {"first": "waiting", "second": "failed"}
    assert "none.nii.gz" in entries[1].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path\n", "names no scan"),
        ("file\na.nii.gz\n", r"night\.csv:1: has no column 'path'; its columns are file"),
        ("path,case\na.nii.gz\n", r"night\.csv:2: has 1 columns"),
        ("path,case\n,x\n", r"night\.csv:2: the column 'path' is empty"),
        ("path,case\na,x\nb,X\n", r"night\.csv:3: the case 'X' is already in line 2"),
        ("path,path\na,x\n", "appears twice"),
        ('path\n"a\n', "is not a CSV worklist"),
    ],
)
def test_a_bad_csv_worklist_is_a_wrong_call(tmp_path: Path, catalogue: Catalogue, text: str, message: str) -> None:
    (tmp_path / "night.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        found(tmp_path, catalogue, tmp_path / "night.csv")


def test_binary_called_csv_is_a_wrong_call(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "night.csv").write_bytes(b"\x1f\x8b\x08\xff\xfe")
    with pytest.raises(UsageError, match="is not a CSV worklist"):
        found(tmp_path, catalogue, tmp_path / "night.csv")


def test_the_columns_of_a_csv_worklist_are_channels(tmp_path: Path, catalogue: Catalogue) -> None:
    for name in ("x.nii.gz", "y.nii.gz"):
        write_scan(tmp_path / name)
    (tmp_path / "night.csv").write_text("case,t1c,Flair\none,x.nii.gz,y.nii.gz\n")
    (entry,) = found(tmp_path, catalogue, tmp_path / "night.csv", plan=plan_of(tmp_path, **TWO))
    assert entry.case == "one" and [item.path.name for item in entry.items] == ["y.nii.gz", "x.nii.gz"]
    assert entry.state == "waiting"


def test_channels_are_brought_together_by_their_names(tmp_path: Path, catalogue: Catalogue) -> None:
    names = ("p1/Flair_std", "p1/T1c_std", "p1/brainmask", "all/b1_flair", "all/b1_t1c", "all/b2_flair", "all/b2_t1c")
    for name in (*names, "lone/x_flair", "nn/c_0000", "nn/c_0001"):
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    entries = found(tmp_path, catalogue, tmp_path / "in", plan=plan_of(tmp_path, **TWO))
    whole = {e.case: [i.path.name.split(".")[0] for i in e.items] for e in entries if e.state == "waiting"}
    assert whole == {
        "p1": ["Flair_std", "T1c_std"],
        "b1": ["b1_flair", "b1_t1c"],
        "b2": ["b2_flair", "b2_t1c"],
        "nn": ["c_0000", "c_0001"],
    }
    assert {e.reason for e in entries if e.state == "failed"} == {"the channel T1c is missing"}
    assert [e.reason for e in entries if e.state == "left-out"] == ["its name contains none of the channels Flair, T1c"]


def test_two_images_for_one_channel_are_not_guessed_at(tmp_path: Path, catalogue: Catalogue) -> None:
    for name in ("a_flair", "flair_a", "a_t1c"):
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    (entry,) = found(tmp_path, catalogue, tmp_path / "in", plan=plan_of(tmp_path, **TWO))
    assert entry.state == "failed" and "several images have a name for the channel Flair" in entry.reason


def test_one_file_may_hold_all_channels(tmp_path: Path, catalogue: Catalogue) -> None:
    write_scan(tmp_path / "both.nii.gz", np.stack([ball(), ball()], -1))
    (entry,) = found(tmp_path, catalogue, tmp_path / "both.nii.gz", plan=plan_of(tmp_path, **TWO))
    assert entry.state == "waiting" and entry.case == "both"


def test_patients_that_share_every_uid_are_scans_of_their_own(tmp_path: Path, catalogue: Catalogue) -> None:
    same = {"Modality": "MR", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}
    for number in range(2):
        make_series(tmp_path / "in" / str(number), ball() + number, AFFINE, PatientID=f"P{number}", **same)
    entries = found(tmp_path, catalogue, tmp_path / "in")
    assert [entry.state for entry in entries] == ["waiting"] * 2 and len({entry.case for entry in entries}) == 2
    assert len({entry.key for entry in entries}) == 2
    assert all([flag.code for flag in entry.flags] == ["shared-uid"] for entry in entries)


def test_archives_beside_scans_are_left_out_by_name(tmp_path: Path, catalogue: Catalogue) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "in" / "b.dcm.gz").write_bytes(b"\x1f\x8b\x08")
    entries = {entry.given.name: entry for entry in found(tmp_path, catalogue, tmp_path / "in")}
    assert entries["a.nii.gz"].state == "waiting" and entries["b.dcm.gz"].state == "left-out"
    assert entries["b.dcm.gz"].code == "archive" and "unpack" in entries["b.dcm.gz"].reason


def test_a_folder_that_cannot_be_opened_fails_by_name(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz")
    monkeypatch.setattr(worklist, "unopened_in", lambda path, _: [path / "closed"])
    entries = {entry.given.name: entry for entry in found(tmp_path, catalogue, tmp_path / "in")}
    assert entries["a.nii.gz"].state == "waiting"
    assert (entries["closed"].state, entries["closed"].code) == ("failed", "closed-folder")
