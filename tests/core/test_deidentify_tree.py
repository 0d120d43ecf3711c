"""Tests of de-identifying a tree: one key gives one set of names, and no call undoes or repeats another."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from deidentify_scans import assert_silent, call, planted, results
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from voxgraft.cli import main
from voxgraft.errors import DataError


def test_one_key_gives_the_same_names_in_every_process(tmp_path: Path, repo_path: dict[str, str]) -> None:
    planted(tmp_path / "in")
    key = ("--key", str(tmp_path / "key"))
    call(tmp_path / "in", tmp_path / "a", *key, "--new-key", "--dates", "shift")
    command = [sys.executable, "-m", "voxgraft", "deidentify", str(tmp_path / "in"), str(tmp_path / "b"), *key]
    subprocess.run([*command, "--dates", "shift"], check=True, capture_output=True, env=repo_path)
    a, b = (
        {path.relative_to(folder): path.read_bytes() for path in results(folder)}
        for folder in (tmp_path / "a", tmp_path / "b")
    )
    assert len(a) == 3 and a == b
    call(tmp_path / "in", tmp_path / "c")
    assert not {path.relative_to(tmp_path / "c") for path in results(tmp_path / "c")} & set(a)


def test_many_processes_give_what_one_gives(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=70)
    call(tmp_path / "in", tmp_path / "a", "--key", tmp_path / "key", "--new-key", "--workers", 1)
    call(tmp_path / "in", tmp_path / "b", "--key", tmp_path / "key", "--workers", 2)
    a, b = (
        {path.relative_to(folder): path.read_bytes() for path in results(folder)}
        for folder in (tmp_path / "a", tmp_path / "b")
    )
    assert len(a) == 70 and a == b


def test_a_key_is_for_its_owner_only_and_never_shown(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=1)
    key = tmp_path / "key"
    assert "--new-key makes it" in call(tmp_path / "in", tmp_path / "out", "--key", key, code=2)["error"]
    done = CliRunner().invoke(
        main, ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), "--key", str(key), "--new-key"]
    )
    assert done.exit_code == 0 and key.stat().st_mode & 0o777 == 0o600
    secret = key.read_text().split()[-1]
    assert len(secret) == 64 and secret not in done.output
    assert secret not in (tmp_path / "out" / "deidentify.json").read_text()
    assert "already exists" in call(tmp_path / "in", tmp_path / "o", "--key", key, "--new-key", code=2)["error"]
    within = tmp_path / "out" / "key"
    assert (
        "lies within TARGET" in call(tmp_path / "in", tmp_path / "out", "--key", within, "--new-key", code=2)["error"]
    )
    key.chmod(0o644)
    assert "anyone on this machine could read" in call(tmp_path / "in", tmp_path / "out", "--key", key, code=2)["error"]
    (tmp_path / "bad").write_text("hello")
    (tmp_path / "bad").chmod(0o600)
    assert (
        "is not a VoxGraft key file"
        in call(tmp_path / "in", tmp_path / "out", "--key", tmp_path / "bad", code=2)["error"]
    )


def test_broken_files_are_told_in_a_sentence_and_the_rest_goes_on(tmp_path: Path) -> None:
    files = planted(tmp_path / "in", n=3)
    files[0].write_bytes(files[0].read_bytes()[:-70])
    (tmp_path / "in" / "empty.dcm").write_bytes(b"")
    (tmp_path / "in" / "noise.dcm").write_bytes(b"\0" * 128 + b"DICM" + os.urandom(300))
    (tmp_path / "in" / "notes of Doe.txt").write_text("hello")
    deep = Dataset()
    deep.ContentDate = "20200101"
    for _ in range(60):
        around = Dataset()
        around.ReferencedImageSequence = Sequence([deep])
        deep = around
    dataset = pydicom.dcmread(files[1])
    dataset.SOPInstanceUID, dataset.SourceImageSequence = "1.2.3.77", Sequence([deep])
    dataset.save_as(tmp_path / "in" / "deep.dcm")
    told = call(tmp_path / "in", tmp_path / "out", code=3)
    assert (told["written"], told["failed"], told["not_dicom"]) == (2, 4, 1)
    reasons = {one["reason"] for one in told["files"] if one["state"] == "failed"}
    assert any("truncated" in reason for reason in reasons) and any("without end" in reason for reason in reasons)
    assert_silent(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*tmp*"))


def test_a_second_call_does_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path / "in", n=3)
    key = ("--key", tmp_path / "key")
    call(tmp_path / "in", tmp_path / "out", *key, "--new-key")
    one, *others = results(tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in others}
    one.unlink()
    planted(tmp_path / "in" / "more", n=1, SeriesInstanceUID="1.2.3.8")
    told = call(tmp_path / "in", tmp_path / "out", *key)
    assert (told["written"], told["skipped"]) == (2, 2) and one.exists()
    assert {path: path.stat().st_mtime_ns for path in others} == before
    report = json.loads((tmp_path / "out" / "deidentify.json").read_text())
    assert len([one for one in report["files"] if one["state"] == "written"]) == 4
    assert "other options" in call(tmp_path / "in", tmp_path / "out", *key, "--dates", "keep", code=2)["error"]
    assert "another key" in call(tmp_path / "in", tmp_path / "out", code=2)["error"]
    with monkeypatch.context() as patched:  # what it holds back, this call may have written
        patched.setattr("voxgraft_dicom.deidentify.report.source_hash", lambda _: "0" * 64)
        assert "made by other code" in call(tmp_path / "in", tmp_path / "out", *key, code=2)["error"]
    assert call(tmp_path / "in", tmp_path / "out", *key)["skipped"] == 4


def replaced(source: Path, **values: Any) -> None:
    """Another image under the same name, with the same size and time, as an export that sets times leaves it."""
    before = source.stat()
    dataset = pydicom.dcmread(source)
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.save_as(source)
    assert source.stat().st_size == before.st_size
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_source_that_changed_in_place_is_done_again(tmp_path: Path) -> None:
    first, second, _ = planted(tmp_path / "in", n=3, BurnedInAnnotation="NONE")
    key = ("--key", tmp_path / "key")
    assert call(tmp_path / "in", tmp_path / "out", *key, "--new-key")["written"] == 3
    uid = str(pydicom.dcmread(first).SOPInstanceUID)
    replaced(first, SOPInstanceUID=uid[:-1] + "7")  # its result has another name
    replaced(second, BurnedInAnnotation="YES")
    told = call(tmp_path / "in", tmp_path / "out", *key)
    assert (told["written"], told["skipped"], told["quarantined"]) == (1, 1, 1)
    assert len(results(tmp_path / "out")) == 2


def test_a_report_that_names_files_elsewhere_removes_nothing(tmp_path: Path) -> None:
    (source,) = planted(tmp_path / "in", n=1)
    key = ("--key", tmp_path / "key")
    call(tmp_path / "in", tmp_path / "out", *key, "--new-key")
    report, other = tmp_path / "out" / "deidentify.json", tmp_path / "other.txt"
    document = json.loads(report.read_text())
    document["files"][0]["file"] = "../other.txt"
    report.write_text(json.dumps(document))
    other.write_text("mine")
    source.touch()
    assert "outside of the target" in call(tmp_path / "in", tmp_path / "out", *key, code=2)["error"]
    assert other.read_text() == "mine"


def test_another_table_of_pseudonyms_does_not_give_a_patient_a_second_name(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=1)
    table, key = tmp_path / "names.csv", ("--key", tmp_path / "key")

    def names(*rows: str, code: int = 0, more: tuple[str, ...] = ()) -> Any:
        table.write_text("\n".join(["patient_id,pseudonym", *rows]) + "\n")
        return call(tmp_path / "in", tmp_path / "out", *key, *more, "--pseudonyms", table, code=code)

    assert names("MRN-778,case-01", more=("--new-key",))["written"] == 1
    assert names("ZZ-1,case-02", "MRN-778,case-01")["skipped"] == 1
    for rows in (["MRN-778,case-03"], ["ZZ-1,case-02"], ["MRN-778,case-02", "ZZ-1,case-01"]):
        assert "another table of pseudonyms" in names(*rows, code=2)["error"]
    assert "another table of pseudonyms" in call(tmp_path / "in", tmp_path / "out", *key, code=2)["error"]


def test_a_call_that_was_ended_is_taken_up_again(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=3)
    key = ("--key", tmp_path / "key")
    call(tmp_path / "in", tmp_path / "out", *key, "--new-key")
    report = tmp_path / "out" / "deidentify.json"
    document = json.loads(report.read_text())
    lines = [json.dumps(one) for one in document["files"][:2]]
    (tmp_path / "out" / "deidentify.part.jsonl").write_text("\n".join([*lines, '{"id": "cut']))
    report.write_text(json.dumps({**document, "files": []}))
    told = call(tmp_path / "in", tmp_path / "out", *key)
    assert (told["written"], told["skipped"]) == (1, 2)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == ["deidentify.json"]


def test_two_files_of_one_instance_do_not_overwrite_each_other(tmp_path: Path) -> None:
    (first,) = planted(tmp_path / "in" / "a", n=1)
    (tmp_path / "in" / "b").mkdir()
    shutil.copy(first, tmp_path / "in" / "b" / "same.dcm")
    other = pydicom.dcmread(first)
    other.InstanceNumber = 9
    other.save_as(tmp_path / "in" / "b" / "different.dcm")
    told = call(tmp_path / "in", tmp_path / "out")
    assert (told["written"], told["duplicates"]) == (2, 1)
    assert {int(pydicom.dcmread(path).InstanceNumber) for path in results(tmp_path / "out")} == {1, 9}


def test_blank_uids_are_taken_from_the_head_of_the_file(tmp_path: Path) -> None:
    def blank(_: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = dataset.SOPClassUID = dataset.StudyInstanceUID = dataset.SeriesInstanceUID = ""

    planted(tmp_path / "Doe", blank)
    assert call(tmp_path / "Doe", tmp_path / "out")["written"] == 3
    assert len({path.name for path in results(tmp_path / "out")}) == 3
    assert_silent(tmp_path / "out")


def test_given_pseudonyms_are_used_and_the_table_is_written_on_request_only(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=1)
    planted(tmp_path / "in" / "other", lambda _, d: setattr(d, "PatientID", "ZZ-1"), n=1)
    table = tmp_path / "names.csv"
    table.write_text("patient_id,pseudonym\nMRN-778,case-01\n")
    call(tmp_path / "in", tmp_path / "out", "--pseudonyms", table, "--write-pseudonyms", tmp_path / "all.csv")
    assert (tmp_path / "out" / "case-01").is_dir() and (tmp_path / "all.csv").stat().st_mode & 0o077 == 0
    with (tmp_path / "all.csv").open() as file:
        found = {row["patient_id"]: row["pseudonym"] for row in csv.DictReader(file)}
    assert found["MRN-778"] == "case-01" and re.fullmatch("P[0-9A-F]{16}", found["ZZ-1"])
    for text, word in (("MRN-778,../x", "letters"), ("MRN-778,a\nB,a", "share"), ("MRN-778,mrn-778", "patient's id")):
        table.write_text(f"patient_id,pseudonym\n{text}\n")
        assert word in call(tmp_path / "in", tmp_path / "o", "--pseudonyms", table, code=2)["error"]
    within = tmp_path / "out" / "t.csv"
    assert "within TARGET" in call(tmp_path / "in", tmp_path / "out", "--write-pseudonyms", within, code=2)["error"]


def test_a_dry_run_writes_nothing_and_tells_the_same(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=2)
    planted(tmp_path / "in" / "us", n=1, Modality="US")
    dry = call(tmp_path / "in", tmp_path / "out", "--dry-run", "--quarantine", tmp_path / "held")
    assert not (tmp_path / "out").exists() and not (tmp_path / "held").exists()
    real = call(tmp_path / "in", tmp_path / "out")
    assert {name: dry[name] for name in ("written", "quarantined", "rules")} == {
        name: real[name] for name in ("written", "quarantined", "rules")
    }


def test_a_full_disk_ends_the_call_and_is_blamed_on_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path / "in", n=1)

    def full(target: Path) -> None:
        raise DataError(f"{target}: cannot be written: No space left on device")

    monkeypatch.setattr("voxgraft_dicom.deidentify.file.atomic_write", full)
    assert "No space left" in call(tmp_path / "in", tmp_path / "out", code=1)["error"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_nifti_loses_its_texts_and_keeps_its_voxels(suffix: str, version: int, tmp_path: Path) -> None:
    import nibabel

    rng = np.random.default_rng(3)
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    affine = np.array([[0.9, 0.1, 0, -3], [-0.1, 0.9, 0, 5], [0, 0, 2.5, 7], [0, 0, 0, 1]])
    for part in ("images", "labels"):
        image = kind(rng.integers(-99, 99, (5, 4, 3)).astype(np.int16), affine)
        for name in ("descrip", "aux_file", "intent_name"):
            image.header[name] = b"Doe Wilhelmina"
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe MRN-778"))
        image.header.set_slope_inter(2.0, 1.0)
        (tmp_path / "in" / part).mkdir(parents=True)
        nibabel.save(image, tmp_path / "in" / part / f"Doe_W{suffix}")
    (tmp_path / "in" / f"broken{suffix}").write_bytes(b"hello")
    told = call(tmp_path / "in", tmp_path / "out", "--nifti", code=3)
    assert (told["written"], told["failed"]) == (2, 1)
    files = sorted((tmp_path / "out" / "nifti").rglob(f"*{suffix}"))
    assert len({path.name for path in files}) == 1 and len({path.parent for path in files}) == 2
    old = {np.asanyarray(nibabel.load(path).dataobj).tobytes() for path in (tmp_path / "in").rglob(f"Doe*{suffix}")}
    assert {np.asanyarray(nibabel.load(path).dataobj).tobytes() for path in files} == old
    for path in files:
        found = nibabel.load(path)
        assert np.array_equal(found.affine, nibabel.load(tmp_path / "in" / "images" / f"Doe_W{suffix}").affine)
        raw = gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes()
        assert b"Doe" not in raw and b"Doe" not in path.read_bytes() and not found.header.extensions
    plain = call(tmp_path / "in", tmp_path / "plain", code=1)
    assert "no DICOM" in plain["error"]


def test_folders_that_would_mix_are_refused(tmp_path: Path) -> None:
    planted(tmp_path / "in", n=1)
    assert "lies within" in call(tmp_path / "in", tmp_path / "in" / "out", code=2)["error"]
    assert "lies within" in call(tmp_path / "in", tmp_path / "in", code=2)["error"]
    assert "lies within" in call(tmp_path / "in", tmp_path, code=2)["error"]
    held = tmp_path / "out" / "held"
    assert "lies within" in call(tmp_path / "in", tmp_path / "out", "--quarantine", held, code=2)["error"]
    assert "no such" in call(tmp_path / "nothing", tmp_path / "out", code=2)["error"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "not empty" in call(tmp_path / "in", tmp_path / "full", code=2)["error"]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("no scan")
    assert "no DICOM" in call(tmp_path / "text", tmp_path / "out", code=1)["error"]
    for word in ("--dates=sometimes", "--descriptors=maybe", "--retain=hope", "--shift-days=0"):
        assert "choose" in call(tmp_path / "in", tmp_path / "out", word, code=2)["error"]
