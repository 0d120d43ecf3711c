"""Batches: each scan by itself, what is done again and what is not, names, memory, threads."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import AFFINE, CONTRACT, SHAPE, Brightness, ball, broken, model, rows, run, states, three, write_scan

from dicom_series import make_series
from voxgraft.batch.contract import least_bytes
from voxgraft.batch.entry import Entry
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import ExecutorOptions
from voxgraft.errors import DataError, ModelError, UnknownComponent, UsageError
from voxgraft.imaging.read import find
from voxgraft.imaging.volume import ImageRef, Volume
from voxgraft.support.progress import Progress
from voxgraft_plugins.executors.threads import Threads


@pytest.mark.parametrize("kind", ["hounsfield", "seen", "header", "magnitude", "fractions"])
def test_values_tell_of_the_modality_where_no_header_does(tmp_path: Path, catalogue: Catalogue, kind: str) -> None:
    array = np.where(ball() > 100, ball(), -1000).astype(np.float32 if kind == "fractions" else np.int16)
    array += 0.25 if kind == "fractions" else 0
    contract = {**CONTRACT, "values": [[-1000.0 if kind == "seen" else 0.0, 900.0]]}
    package = model(tmp_path / "model", contract=contract)
    scan = tmp_path / "in" / "a.nii.gz"
    if kind == "header":
        make_series(scan := tmp_path / "s", array, AFFINE, Modality="MR")
    else:
        write_scan(scan, np.abs(array) if kind == "magnitude" else array)
    batch = run(tmp_path, catalogue, scan, package=package)
    if kind != "hounsfield":
        assert batch.done == 1 and "out-of-contract" not in batch.scans[0].flags
        return
    assert (batch.failed, batch.scans[0].code) == (1, "contract")
    assert "look like Hounsfield units, and the model was trained on MR" in str(batch.scans[0].error)
    forced = run(tmp_path, catalogue, scan, package=package, ignore_contract=True)
    assert forced.done == 1 and forced.scans[0].flags == ("out-of-contract",)


def test_a_ct_that_is_not_in_hounsfield_units_is_flagged(tmp_path: Path, catalogue: Catalogue) -> None:
    contract = {**CONTRACT, "modality": ["CT"], "values": [[-1000.0, 900.0]]}
    batch = run(tmp_path, catalogue, *three(tmp_path)[:1], package=model(tmp_path / "model", contract=contract))
    assert batch.done == 1 and batch.scans[0].flags == ("out-of-contract",)


# What is done, and not done again


def test_every_scan_gets_a_folder_and_one_bad_scan_fails_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    predictor = Brightness()
    batch = run(tmp_path, catalogue, *three(tmp_path), broken(tmp_path), predictor=predictor)
    assert states(batch) == {"a": "done", "b": "done", "c": "done", "broken": "failed"}
    assert (batch.done, batch.failed, batch.skipped, batch.exit_code) == (3, 1, 0, 3)
    assert predictor.loaded == 1
    out = tmp_path / "out"
    for case in "abc":
        assert {p.name for p in (out / case).iterdir()} == {
            "mask.nii.gz",
            "preview.png",
            "preview-plain.jpg",
            "report.json",
        }
    assert sorted(p.name for p in out.iterdir()) == [".lock", "a", "b", "c", "ledger.sqlite", "report.html", "review"]
    row = rows(tmp_path)["broken"]
    assert (row.error_code, row.tries) == ("bad-image", 1) and "truncated" in row.error


NAMES = [
    b"M\xfcller.nii.gz",
    b"new\nline.nii.gz",
    b"tab\there.nii.gz",
    b"a" * 248 + b".nii.gz",
    b"=1+1.nii.gz",
    b"red\x1b[31m.nii.gz",
    b"back\\slash.nii.gz",
    "turned\u202eround.nii.gz".encode(),
    b'q"uote<b>.nii.gz',
]


def test_names_of_any_bytes_are_segmented_and_reported_in_valid_text(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz")
    (tmp_path / "in").mkdir()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + name)).write_bytes(scan.read_bytes())
    broken = tmp_path / "in" / os.fsdecode(b"br\xf6ken\n.nii.gz")
    broken.write_bytes(scan.read_bytes()[:300])
    batch = run(tmp_path, catalogue, tmp_path / "in", progress=Progress())
    assert (batch.done, batch.failed) == (len(NAMES), 1)
    document = json.loads(json.dumps(batch.document(), ensure_ascii=False).encode())
    assert str(tmp_path / "in" / "new\nline.nii.gz") in {scan["input"] for scan in document["scans"]}
    assert r"br\xf6ken\n.nii.gz" in capsys.readouterr().err
    kept = rows(tmp_path)
    assert {r"../in/M\xfcller.nii.gz", r"../in/new\nline.nii.gz"} <= {row.input for row in kept.values()}
    for path in (tmp_path / "out").rglob("report.*"):
        text = path.read_bytes().decode()
        assert "\x1b" not in text and "\u202e" not in text
    assert run(tmp_path, catalogue, tmp_path / "in").skipped == len(NAMES)


def test_a_worklist_names_files_of_any_bytes(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz")
    for name in (b"M\xfcller.nii.gz", b"new\nline.nii.gz"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(scan.read_bytes())
    worklist = tmp_path / "list.csv"
    worklist.write_bytes(b'case,path\nfirst,M\xfcller.nii.gz\nsecond,"new\nline.nii.gz"\n')
    assert states(run(tmp_path, catalogue, worklist)) == {"first": "done", "second": "done"}
    worklist.write_text("case,path\na,scan.nii.gz\n", encoding="utf-16")
    with pytest.raises(UsageError, match="is not a CSV worklist in UTF-8"):
        run(tmp_path, catalogue, worklist)


def test_a_network_whose_output_is_not_finite_fails_its_scan_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    class Broken(Brightness):
        def predict(self, volume: Volume) -> Any:
            found = super().predict(volume)
            if volume.item and volume.item.path.name == "b.nii.gz":
                found.confidence["ball"] = float("nan")
            return found

    batch = run(tmp_path, catalogue, *three(tmp_path), predictor=Broken())
    assert states(batch) == {"a": "done", "b": "failed", "c": "done"}
    assert "NaN or infinite values" in str(batch.scans[1].error)


def test_a_scan_that_cannot_fit_into_memory_fails_alone_before_it_is_read(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = three(tmp_path)
    write_scan(inputs[1], np.zeros((200, 200, 50), np.int16))
    monkeypatch.setattr("voxgraft.batch.contract.free_memory", lambda: 3_000_000)
    batch = run(tmp_path, catalogue, *inputs, ignore_contract=True)
    assert states(batch) == {"a": "done", "b": "failed", "c": "done"} and batch.exit_code == 3
    assert batch.scans[1].code == "out-of-memory"
    assert batch.scans[1].error == "its 200x200x50 voxels need at least 0.0 GB of memory, and 0.0 GB are free"


def test_what_a_scan_needs_at_least_follows_from_its_header(tmp_path: Path, catalogue: Catalogue) -> None:
    (item,) = find(ImageRef(write_scan(tmp_path / "a.nii.gz")), catalogue)
    plan = model(tmp_path / "model").plan
    voxels, seen = np.prod(SHAPE), 26 * 24 * 21  # slices of 1.5 mm are brought to 1 mm
    assert least_bytes(Entry((item,), item.path, "a"), plan) == 2 * voxels + 4 * seen + voxels
    two = plan.model_copy(update={"channels": ("a", "b")})
    assert least_bytes(Entry((item, item), item.path, "a"), two) == 4 * voxels + 8 * seen + voxels


@pytest.mark.parametrize(
    ("error", "code"),
    [(ValueError("x"), "unexpected"), (MemoryError(), "out-of-memory"), (DataError("no"), "prediction")],
)
def test_a_scan_that_cannot_be_predicted_fails_alone(
    tmp_path: Path, catalogue: Catalogue, error: Exception, code: str
) -> None:
    batch = run(tmp_path, catalogue, *three(tmp_path), predictor=Brightness(fails={"b.nii.gz": error}))
    assert states(batch) == {"a": "done", "b": "failed", "c": "done"}
    assert rows(tmp_path)["b"].error_code == code and not (tmp_path / "out" / "b").exists()


def test_a_model_that_cannot_be_loaded_leaves_the_scans_waiting(tmp_path: Path, catalogue: Catalogue) -> None:
    def load(_: Any) -> Any:
        raise ModelError("the weights do not fit")

    with pytest.raises(ModelError, match="do not fit"):
        run(tmp_path, catalogue, *three(tmp_path), predictor=load)
    assert {(row.state, row.tries) for row in rows(tmp_path).values()} == {("waiting", 0)}


def test_a_wrong_call_starts_nothing(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    with pytest.raises(UnknownComponent, match="no writer is called 'nifty'; did you mean 'nifti'"):
        run(tmp_path, catalogue, scan, writers=("nifty",))
    with pytest.raises(UnknownComponent, match="no executor is called 'slurm'"):
        run(tmp_path, catalogue, scan, executor="slurm://head:10001")
    with pytest.raises(UsageError, match="workers"):
        run(tmp_path, catalogue, scan, workers=0)
    with pytest.raises(UsageError, match=r"none\.nii\.gz: there is no such file"):
        run(tmp_path, catalogue, scan, tmp_path / "none.nii.gz")
    assert not (tmp_path / "out").exists()


# Threads and memory


def test_threads_take_no_more_tasks_than_they_can_hold() -> None:
    taken: list[int] = []

    def tasks() -> Any:
        for number in range(10):
            taken.append(number)
            yield number

    ahead = [len(taken) - done for done, _ in enumerate(Threads(ExecutorOptions(workers=2)).run(abs, tasks()))]
    assert len(ahead) == 10 and max(ahead) <= 5


def test_closing_threads_waits_for_what_has_begun() -> None:
    ended: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.05)
        ended.append(number)
        return number

    outcomes = Threads(ExecutorOptions(workers=2)).run(work, range(100))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    count = len(ended)
    time.sleep(0.2)
    assert len(ended) == count <= 10


@pytest.mark.parametrize("part", [None, "1/2"])
def test_what_a_lost_worker_was_writing_is_gone_at_the_end(tmp_path: Path, catalogue: Catalogue, part: str) -> None:
    class Lost(Brightness):
        def predict(self, volume: Volume, **options: Any) -> Any:
            for token, case in (("0a", volume.item.path.name.removesuffix(".nii.gz")), ("0b", "of-another-part")):
                left = tmp_path / "out" / f".tmp-{token}-{case}"
                left.mkdir(exist_ok=True)
                (left / "mask.nii.gz").write_bytes(b"half of a")
            return super().predict(volume, **options)

    options = {} if part is None else {"part": part}
    done = run(tmp_path, catalogue, *three(tmp_path), predictor=Lost(), **options)
    mine = {scan.case for scan in done.scans if scan.state == "done"}
    left = {path.name.split("-", 2)[2] for path in (tmp_path / "out").glob(".tmp-*")}
    assert mine and not left & mine
    assert ("of-another-part" in left) == (part is not None)


def test_only_a_few_scans_are_in_memory_and_the_next_is_read_while_one_is_predicted(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    inputs = [write_scan(tmp_path / "in" / f"{n}.nii.gz") for n in range(6)]
    running: list[set[str]] = []

    class Watching(Brightness):
        def predict(self, volume: Volume) -> Any:
            time.sleep(0.1)
            with sqlite3.connect(tmp_path / "out" / "ledger.sqlite") as connection:
                found = connection.execute("SELECT \"case\" FROM scans WHERE state = 'running'").fetchall()
            running.append({case for (case,) in found})
            return super().predict(volume)

    assert run(tmp_path, catalogue, *inputs, predictor=Watching()).done == 6
    assert max(map(len, running)) <= 4 and "1" in running[0], "one read ahead, one predicted, at most two written"
