"""Tests of the names of scans, of CSV worklists, and of channels that are brought together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from batch_scans import AFFINE, CONTRACT, ball, write_scan
from worklist_studies import found, plan_of, states, study

from dicom_series import make_series
from voxgraft.batch import worklist
from voxgraft.batch.entry import Entry, with_ids
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError

TWO = {"channels": ("Flair", "T1c"), "contract": {**CONTRACT, "channels": 2}}


def test_an_empty_folder_fails_by_itself(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "empty").mkdir()
    entries = found(tmp_path, catalogue, tmp_path / "empty", write_scan(tmp_path / "a.nii.gz"))
    assert states(entries) == {"empty": "failed", "a": "waiting"}


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
