"""Batches: what is done, what is not done again, what is left when something goes wrong, what a person sees."""

from __future__ import annotations

import errno
import gzip
import html
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import AFFINE, CONTRACT, SHAPE, Brightness, ball, model, write_scan

from dicom_series import make_series
from voxgraft.batch.archive import recall
from voxgraft.batch.corrections import KEPT, Corrections
from voxgraft.batch.dispatch import placed
from voxgraft.batch.entry import Entry
from voxgraft.batch.ledger import Ledger, Row
from voxgraft.batch.outputs import Found, Outputs
from voxgraft.batch.proof import prove
from voxgraft.batch.quality import flags_of, measure
from voxgraft.batch.report import by_doubt
from voxgraft.batch.segment import Batch, segment
from voxgraft.batch.task import ScanResult
from voxgraft.batch.values import least_bytes
from voxgraft.batch.worklist import Finder
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import ExecutorOptions, Options
from voxgraft.discovery import discover
from voxgraft.errors import DataError, ModelError, UnknownComponent, UsageError
from voxgraft.imaging.formats import WriterSpec
from voxgraft.imaging.read import find, read
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import ImageRef, Item, Volume
from voxgraft.imaging.write import write
from voxgraft.support.files import sha256
from voxgraft.support.lock import sole_owner
from voxgraft.support.progress import Progress
from voxgraft_plugins.executors.threads import Threads
from voxgraft_plugins.nifti.reader import NiftiReader


def run(tmp_path: Path, catalogue: Catalogue, *inputs: Path, predictor: Any = None, **options: Any) -> Batch:
    package = options.pop("package", None) or model(tmp_path / "model")
    return segment(
        package, inputs, tmp_path / "out", catalogue, predictor=predictor or Brightness(), **{"workers": 1, **options}
    )


def states(batch: Batch) -> dict[str, str]:
    return {scan.case: scan.state for scan in batch.scans}


def rows(tmp_path: Path) -> dict[str, Row]:
    with Ledger(tmp_path / "out") as ledger:
        return {row.case: row for row in ledger.rows()}


def stamps(tmp_path: Path) -> dict[str, int]:
    """When each mask was written; a folder that is not whole yet has a temporary name."""
    masks = (tmp_path / "out").glob("[!.]*/mask.nii.gz")
    return {path.parent.name: path.stat().st_mtime_ns for path in masks}


def three(tmp_path: Path) -> list[Path]:
    return [write_scan(tmp_path / "in" / f"{name}.nii.gz") for name in "abc"]


def broken(tmp_path: Path) -> Path:
    path = write_scan(tmp_path / "in" / "broken.nii.gz")
    path.write_bytes(path.read_bytes()[:300])
    return path


class FakeWriter:
    """A writer that does what a test says."""

    def __init__(self, work: Any) -> None:
        self.work = work

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        self.work(volume, target)


class NoOptions(Options):
    """None."""


def with_writer(entries: list[EntryPoint], name: str, filename: str, work: Any, needs: str = "any") -> Catalogue:
    """The built-in components, and a writer that does what a test says in the place of one that is called so."""
    catalogue = discover([entry for entry in entries if entry.name != name])
    spec = WriterSpec(
        name=name,
        summary="",
        suffixes=(filename,),
        filename=filename,
        needs=needs,
        options=lambda: NoOptions,
        build=lambda _: FakeWriter(work),
    )
    catalogue.add("test", spec)
    catalogue.origins["test"] = Origin("test", "test", "test", "1")
    return catalogue


def full(volume: Volume, target: Path) -> None:
    target.write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def refuse(volume: Volume, target: Path) -> None:
    target.write_bytes(b"half")
    raise DataError(f"{target}: this scan cannot be written so")


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


def test_masks_lie_exactly_on_their_scans(tmp_path: Path, catalogue: Catalogue) -> None:
    oblique = np.array([[0.9, -0.3, 0.1, 5], [0.3, 0.9, 0.2, -40], [-0.2, -0.1, 1.4, 7], [0, 0, 0, 1]])
    run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz", affine=oblique), ignore_contract=True)
    mask = nib.load(tmp_path / "out" / "a" / "mask.nii.gz")
    expected = (ball() > 100).astype(int) + (ball() > 200)
    assert np.allclose(mask.affine, oblique, atol=1e-5) and np.array_equal(np.asarray(mask.dataobj), expected)


def test_a_second_call_skips_what_is_done_and_tries_again_what_failed(tmp_path: Path, catalogue: Catalogue) -> None:
    inputs = [*three(tmp_path), broken(tmp_path)]
    run(tmp_path, catalogue, *inputs)
    before, predictor = stamps(tmp_path), Brightness()
    again = run(tmp_path, catalogue, *inputs, predictor=predictor)
    assert (again.done, again.failed, again.skipped, again.exit_code) == (0, 1, 3, 3)
    assert stamps(tmp_path) == before and predictor.loaded == 0
    assert rows(tmp_path)["broken"].tries == 2
    assert [len(scan.outputs) for scan in again.scans] == [4, 4, 4, 0]


def test_a_touched_input_of_the_same_bytes_is_not_done_again(tmp_path: Path, catalogue: Catalogue) -> None:
    (scan,) = [write_scan(tmp_path / "a.nii.gz")]
    run(tmp_path, catalogue, scan)
    os.utime(scan, (1, 1))
    assert run(tmp_path, catalogue, scan).skipped == 1


@pytest.mark.parametrize("change", ["input", "model", "options", "missing", "writers"])
def test_a_scan_is_done_again_when_anything_has_changed(tmp_path: Path, catalogue: Catalogue, change: str) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    run(tmp_path, catalogue, scan)
    options: dict[str, Any] = {}
    if change == "input":
        write_scan(scan, ball(radius=7))
    elif change == "model":
        options = {"package": model(tmp_path / "model", hash="b" * 64)}
    elif change == "options":
        options = {"overlap": 0.25}
    elif change == "writers":
        options = {"writers": ("nifti",)}
    else:
        (tmp_path / "out" / "a" / "mask.nii.gz").unlink()
    assert run(tmp_path, catalogue, scan, **options).done == 1
    assert run(tmp_path, catalogue, scan, **options).skipped == 1


def test_the_mask_of_a_changed_input_does_not_stay_when_the_new_one_fails(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "in" / "a.nii.gz")
    run(tmp_path, catalogue, scan)
    scan.write_bytes(scan.read_bytes()[:300])
    assert run(tmp_path, catalogue, scan).failed == 1
    assert not (tmp_path / "out" / "a").exists()


EDITED = b"edited by hand"


def corrected(tmp_path: Path, catalogue: Catalogue) -> tuple[Path, Path]:
    """A scan whose mask a person has corrected in the batch's folder."""
    scan = write_scan(tmp_path / "a.nii.gz")
    run(tmp_path, catalogue, scan)
    mask = tmp_path / "out" / "a" / "mask.nii.gz"
    mask.write_bytes(EDITED)
    return scan, mask


@pytest.mark.parametrize(
    "change",
    ["nothing", "model", "options", "retry", "recompressed", "input", "lost", "row", "deleted", "killed", "cut-off"],
)
def test_a_corrected_mask_is_kept_beside_the_new_one(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    scan, mask = corrected(tmp_path, catalogue)
    ledger = tmp_path / "out" / "ledger.sqlite"
    options: dict[str, Any] = {}
    if change == "model":
        options = {"package": model(tmp_path / "model", hash="b" * 64)}
    elif change == "options":
        options = {"overlap": 0.25}
    elif change == "retry":
        options = {"retry": True}
    elif change == "recompressed":
        scan.write_bytes(gzip.compress(gzip.decompress(scan.read_bytes()), 1))
    elif change == "input":
        write_scan(scan, ball(radius=7))
    elif change == "lost":
        ledger.unlink()
    elif change == "row":
        with sqlite3.connect(ledger) as connection:
            connection.execute("DELETE FROM scans")
            connection.execute("DELETE FROM written")
    elif change == "deleted":
        (mask.parent / "report.json").unlink()
    elif change == "killed":
        interrupted(tmp_path, "a", 1)
    elif change == "cut-off":
        mask.parent.rename(tmp_path / "out" / ".tmp.replaced-0-a")
    batch = run(tmp_path, catalogue, scan, progress=Progress(), **options)
    kept = mask.parent / "mask.corrected-1.nii.gz"
    assert batch.done == 1 and kept.read_bytes() == EDITED and nib.load(mask).shape == SHAPE
    assert KEPT in batch.scans[0].flags and "mask.corrected-1.nii.gz" in capsys.readouterr().err
    flags = json.loads((mask.parent / "report.json").read_text())["flags"]
    assert any(flag["code"] == KEPT and kept.name in flag["message"] for flag in flags)
    assert kept.name not in rows(tmp_path)["a"].outputs
    assert run(tmp_path, catalogue, scan, **{**options, "retry": False}).skipped == 1


def test_every_correction_has_a_name_of_its_own_and_other_files_keep_theirs(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    scan, mask = corrected(tmp_path, catalogue)
    (mask.parent / "notes.txt").write_text("look at slice 4")
    (mask.parent / "drawn").mkdir()
    (mask.parent / "drawn" / "a.nrrd").write_text("outline")
    run(tmp_path, catalogue, scan)
    mask.write_bytes(b"edited again")
    for _ in range(2):
        run(tmp_path, catalogue, scan, package=model(tmp_path / "model", hash="b" * 64))
        run(tmp_path, catalogue, scan)
    found = {path.name: path.read_bytes() for path in mask.parent.iterdir() if "corrected" in path.name}
    assert found == {"mask.corrected-1.nii.gz": EDITED, "mask.corrected-2.nii.gz": b"edited again"}
    assert (mask.parent / "notes.txt").read_text() == "look at slice 4"
    assert (mask.parent / "drawn" / "a.nrrd").read_text() == "outline"


def test_a_correction_outlives_a_scan_that_fails_now(tmp_path: Path, catalogue: Catalogue) -> None:
    scan, mask = corrected(tmp_path, catalogue)
    scan.write_bytes(scan.read_bytes()[:300])
    assert run(tmp_path, catalogue, scan).failed == 1
    assert {path.name: path.read_bytes() for path in mask.parent.iterdir()} == {"mask.corrected-1.nii.gz": EDITED}


def test_a_mask_corrected_while_its_folder_is_replaced_is_kept(
    tmp_path: Path, builtin_entries: list[EntryPoint]
) -> None:
    scan, mask = corrected(tmp_path, discover(builtin_entries))

    class Late(Corrections):
        def carry(self, case: str, new: Path) -> Any:
            flags = super().carry(case, new)
            mask.write_bytes(b"corrected at the last moment")
            return flags

    with Ledger(tmp_path / "out") as ledger:
        package = model(tmp_path / "model")
        outputs = Outputs(tmp_path / "out", package, discover(builtin_entries))
        entry = Entry((), scan, "a.nii.gz", case="a")
        volume = read(scan, outputs.catalogue)
        labels = volume.with_array((volume.array > 100).astype(np.uint8))
        staged = outputs.stage(entry, volume, labels, Found({}, {}))
        result = ScanResult("a", "done", staged.folder, staged.hashes, staged.structures, staged.flags)
        hashes, flags = placed(result, Late(outputs.out, ledger, outputs.names))
    names = {path.name: path.read_bytes() for path in mask.parent.iterdir() if "corrected" in path.name}
    assert names == {"mask.corrected-1.nii.gz": EDITED, "mask.corrected-2.nii.gz": b"corrected at the last moment"}
    assert [flag["code"] for flag in flags].count(KEPT) == 2
    assert sha256(mask.parent / "report.json") == hashes["report.json"]
    assert not list((tmp_path / "out").glob(".tmp*"))


def test_another_models_batch_in_the_folder_is_named(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    run(tmp_path, catalogue, scan)
    run(tmp_path, catalogue, scan, package=model(tmp_path / "model", hash="b" * 64), progress=Progress())
    assert "holds 1 scans that another model segmented (balls 3)" in capsys.readouterr().err


def test_a_scan_that_failed_three_times_is_put_aside_until_retry(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    bad = Brightness(fails={"a.nii.gz": ValueError("no")})
    for _ in range(3):
        assert run(tmp_path, catalogue, scan, predictor=bad).failed == 1
    fourth = run(tmp_path, catalogue, scan, predictor=bad)
    assert bad.seen == ["a.nii.gz"] * 3 and fourth.exit_code == 1
    assert "put aside; --retry" in str(fourth.scans[0].error)
    assert run(tmp_path, catalogue, scan, package=model(tmp_path / "m", hash="b" * 64)).done == 1, "another model may"
    for _ in range(3):
        run(tmp_path, catalogue, scan, predictor=bad)
    assert run(tmp_path, catalogue, scan, retry=True).done == 1


def test_results_inside_the_input_folder_are_no_scans(tmp_path: Path, catalogue: Catalogue) -> None:
    three(tmp_path)
    package = model(tmp_path / "model")
    for expected in ("done", "skipped"):
        batch = segment(package, [tmp_path / "in"], tmp_path / "in" / "out", catalogue, predictor=Brightness())
        assert states(batch) == dict.fromkeys("abc", expected)


def test_a_folder_of_somebody_elses_is_not_replaced(tmp_path: Path, catalogue: Catalogue) -> None:
    notes = tmp_path / "out" / "a" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    batch = run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"))
    assert notes.read_text() == "mine" and batch.done == 1 and batch.scans[0].case != "a"


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


# What goes wrong


def test_what_the_voxels_show_is_flagged_reported_and_looked_at_first(tmp_path: Path, catalogue: Catalogue) -> None:
    infinite, cut = ball().astype(np.float32), ball()
    infinite[2, 3, 4] = np.inf
    cut[cut > 100] = 0
    write_scan(tmp_path / "in" / "a-good.nii.gz")
    write_scan(tmp_path / "in" / "b-empty.nii.gz", cut)
    write_scan(tmp_path / "in" / "c-flat.nii.gz", np.full(SHAPE, 7, np.int16))
    write_scan(tmp_path / "in" / "d-infinite.nii.gz", infinite)
    write_scan(tmp_path / "in" / "e-nan.nii.gz", np.full(SHAPE, np.nan, np.float32))
    batch = run(tmp_path, catalogue, tmp_path / "in")
    flags = {scan.case: scan.flags for scan in batch.scans}
    assert flags["d-infinite"] == ("not-finite",) and "constant" in flags["c-flat"] and flags["a-good"] == ()
    assert states(batch)["e-nan"] == "failed" and "none of its voxels is a finite number" in str(batch.scans[4].error)
    report = json.loads((tmp_path / "out" / "d-infinite" / "report.json").read_text())
    assert report["flags"] == [{"code": "not-finite", "message": "1 of its voxels is not a finite number"}]
    order = [row.case for row in by_doubt(rows(tmp_path).values())]
    assert order == ["e-nan", "c-flat", "d-infinite", "b-empty", "a-good"]
    assert run(tmp_path, catalogue, tmp_path / "in").skipped == 4


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
    monkeypatch.setattr("voxgraft.batch.values.free_memory", lambda: 3_000_000)
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


def test_ctrl_c_leaves_the_ledger_in_order_and_the_next_call_goes_on(tmp_path: Path, catalogue: Catalogue) -> None:
    inputs = three(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, catalogue, *inputs, predictor=Brightness(fails={"b.nii.gz": KeyboardInterrupt()}))
    kept = rows(tmp_path)
    assert (kept["a"].state, kept["b"].state, kept["b"].tries, kept["b"].interrupted) == ("done", "waiting", 0, False)
    assert (tmp_path / "out" / "report.html").exists()
    again = run(tmp_path, catalogue, *inputs)
    assert states(again) == {"a": "skipped", "b": "done", "c": states(again)["c"]} and again.failed == 0


def test_a_full_disk_fails_the_scan_and_leaves_nothing_half_written(
    tmp_path: Path, builtin_entries: list[EntryPoint]
) -> None:
    catalogue = with_writer(builtin_entries, "odd", "mask.odd", full)
    batch = run(tmp_path, catalogue, *three(tmp_path), writers=("nifti", "odd"))
    assert batch.failed == 3 and batch.exit_code == 1
    assert batch.scans[0].error == "mask.odd: cannot be written: No space left on device"
    assert rows(tmp_path)["a"].error_code == "cannot-write"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".lock", "ledger.sqlite", "report.html", "review"]


def crash(volume: Volume, target: Path) -> None:
    target.write_bytes(b"half")
    raise ZeroDivisionError


@pytest.mark.parametrize("asked", [None, ("nifti", "dicom-seg"), ("dicom-seg", "nifti")])
@pytest.mark.parametrize(("work", "reason"), [(refuse, "this scan cannot be written so"), (crash, "ZeroDivisionError")])
def test_a_writer_that_fails_takes_nothing_with_it(
    tmp_path: Path, builtin_entries: list[EntryPoint], work: Any, reason: str, asked: tuple[str, ...] | None
) -> None:
    catalogue = with_writer(builtin_entries, "dicom-seg", "mask.dcm", work, needs="dicom")
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=asked)
    assert batch.done == 1 and batch.scans[0].flags == ("no-dicom-seg",) and batch.exit_code == 0
    assert {p.name for p in (tmp_path / "out" / "s").iterdir()} == {
        "mask.nii.gz",
        "preview.png",
        "preview-plain.jpg",
        "report.json",
    }
    report = json.loads((tmp_path / "out" / "s" / "report.json").read_text())
    assert report["masks"] == ["mask.nii.gz"] and reason in report["flags"][0]["message"]
    assert reason in (tmp_path / "out" / "report.html").read_text()


def test_the_first_writer_that_fails_does_not_take_the_second_with_it(
    tmp_path: Path, builtin_entries: list[EntryPoint]
) -> None:
    catalogue = with_writer(builtin_entries, "nifti", "mask.nii.gz", refuse)
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=("nifti", "dicom-seg"))
    assert batch.done == 1 and batch.scans[0].flags == ("no-nifti",)
    assert {p.name for p in (tmp_path / "out" / "s").iterdir()} == {
        "mask.dcm",
        "preview.png",
        "preview-plain.jpg",
        "report.json",
    }


def test_a_scan_of_which_no_writer_succeeds_has_failed(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    catalogue = with_writer(builtin_entries, "dicom-seg", "mask.dcm", refuse, needs="dicom")
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=("dicom-seg",))
    assert batch.failed == 1 and batch.scans[0].error == "mask.dcm: this scan cannot be written so"


def test_tries_on_a_full_disk_do_not_count(
    tmp_path: Path, builtin_entries: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = with_writer(builtin_entries, "odd", "mask.odd", full)
    with monkeypatch.context() as patch:
        patch.setattr("voxgraft.batch.scan.is_full", lambda _: True)
        for _ in range(4):
            assert run(tmp_path, catalogue, *three(tmp_path), writers=("nifti", "odd")).failed == 3
    assert {row.tries for row in rows(tmp_path).values()} == {0}
    assert run(tmp_path, catalogue, *three(tmp_path)).done == 3


LIMITED = """
import resource, sys
from pathlib import Path
from batch_scans import Brightness, model
from voxgraft.batch.segment import segment
from voxgraft.discovery import discover
from voxgraft.errors import VoxGraftError
root, most = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    segment(model(root / "model"), [root / "in"], root / "out", discover(), predictor=Brightness())
except VoxGraftError as error:
    sys.exit(f"one sentence: {error}")
"""


def test_a_ledger_that_cannot_grow_ends_the_batch_in_a_sentence_and_it_goes_on_later(
    tmp_path: Path, catalogue: Catalogue, repo_path: dict[str, str]
) -> None:
    three(tmp_path)
    path = os.pathsep.join([repo_path["PYTHONPATH"], str(Path(__file__).parent)])
    command = [sys.executable, "-c", LIMITED, str(tmp_path), "60000"]
    done = subprocess.run(command, env={**repo_path, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "one sentence: " in done.stderr and "ledger.sqlite" in done.stderr
    assert "make sure that its disk has space" in done.stderr and "Traceback" not in done.stderr
    assert run(tmp_path, catalogue, tmp_path / "in").done == 3


def test_a_full_disk_under_a_usual_writer_is_no_mere_flag(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    catalogue = with_writer(builtin_entries, "dicom-seg", "mask.dcm", full, needs="dicom")
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    assert run(tmp_path, catalogue, tmp_path / "s").failed == 1


def test_a_mask_that_comes_back_elsewhere_is_not_delivered(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    def shifted(volume: Volume, target: Path) -> None:
        affine = volume.affine.copy()
        affine[0, 3] += 0.2
        nib.save(nib.Nifti1Image(volume.array, affine), target)

    catalogue = with_writer(builtin_entries, "odd", "odd.nii.gz", shifted)
    batch = run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"), writers=("odd",))
    assert batch.failed == 1 and "0.2 mm away from where it was written" in str(batch.scans[0].error)
    assert not (tmp_path / "out" / "a").exists()


def test_a_writer_whose_files_nothing_reads_is_flagged(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    catalogue = with_writer(builtin_entries, "odd", "mask.odd", lambda _, target: target.write_text("contours"))
    batch = run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"), writers=("nifti", "odd"))
    assert batch.done == 1 and batch.scans[0].flags == ("unproved",)


def test_writers_that_do_not_fit_a_scan_are_passed_over(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    assert run(tmp_path, catalogue, scan, writers=("nifti", "dicom-seg")).done == 1
    alone = run(tmp_path, catalogue, scan, writers=("dicom-seg",))
    assert alone.failed == 1 and "none of the writers dicom-seg fits" in str(alone.scans[0].error)


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


def test_a_folder_in_use_is_said_and_left_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    with sole_owner(tmp_path / "out", "working in"), pytest.raises(DataError, match="another voxgraft is segmenting"):
        run(tmp_path, catalogue, scan)
    assert run(tmp_path, catalogue, scan).done == 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "SystemExit: 3"),
        ("shape", "it gave 20x24x14 voxels, and had said 26x24x14"),
        ("complex", "its voxels are complex64, not numbers"),
        ("object", "its voxels are object, not numbers"),
        ("none", "it returned no Volume, but NoneType"),
    ],
)
def test_what_only_a_plugin_can_be_blamed_for_fails_its_scan_alone(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    whole = NiftiReader.read

    def bad(reader: NiftiReader, item: Item) -> Any:
        volume = whole(reader, item)
        if item.path.name != "b.nii.gz":
            return volume
        if how == "exit":
            sys.exit(3)
        kinds = {"complex": np.complex64, "object": object}
        return {"none": None, "shape": volume.with_array(volume.array[:20])}.get(
            how, volume.with_array(volume.array.astype(kinds.get(how, np.int16)))
        )

    monkeypatch.setattr(NiftiReader, "read", bad)
    batch = run(tmp_path, catalogue, *three(tmp_path))
    assert states(batch) == {"a": "done", "b": "failed", "c": "done"}
    assert str(batch.scans[1].error).startswith("plugin 'nifti' ") and "b.nii.gz" in str(batch.scans[1].error)
    assert said in str(batch.scans[1].error)
    assert batch.scans[1].code == "plugin"


# Killed


KILLED = """
import sys
from pathlib import Path
from batch_scans import Brightness, model
from voxgraft.batch.segment import segment
from voxgraft.discovery import discover
root = Path(sys.argv[1])
segment(model(root / "model"), [root / "in"], root / "out", discover(), predictor=Brightness(slow=0.5), workers=1)
"""


def test_a_killed_batch_goes_on_where_it_was_and_leaves_nothing_half_written(
    tmp_path: Path, catalogue: Catalogue, repo_path: dict[str, str]
) -> None:
    names = [f"s{number}" for number in range(6)]
    for name in names:
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    path = os.pathsep.join([repo_path["PYTHONPATH"], str(Path(__file__).parent)])
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], env={**repo_path, "PYTHONPATH": path})
    deadline = time.monotonic() + 60
    while len(stamps(tmp_path)) < 2 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it was killed in the middle"
    finished = stamps(tmp_path)
    assert 2 <= len(finished) < 6
    for case in finished:
        assert nib.load(tmp_path / "out" / case / "mask.nii.gz").get_fdata().any()
        assert json.loads((tmp_path / "out" / case / "report.json").read_text())["case"] == case
    done = {case for case, row in rows(tmp_path).items() if row.state == "done"}
    predictor = Brightness()
    batch = run(tmp_path, catalogue, tmp_path / "in", predictor=predictor)
    assert set(states(batch)) == set(names) and batch.failed == 0 and batch.skipped == len(done)
    assert {name.split(".")[0] for name in predictor.seen} == set(names) - done
    assert {case: stamp for case, stamp in stamps(tmp_path).items() if case in done} == {
        case: stamp for case, stamp in finished.items() if case in done
    }
    assert not list((tmp_path / "out").rglob(".tmp*"))


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path, catalogue: Catalogue) -> None:
    half = tmp_path / "out" / ".tmp-99999-a"
    half.mkdir(parents=True)
    (half / "mask.nii.gz").write_bytes(b"half")
    run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"))
    assert not half.exists()


def interrupted(tmp_path: Path, case: str, tries: int) -> None:
    """As if the process had been killed so often while this scan was under way."""
    with sqlite3.connect(tmp_path / "out" / "ledger.sqlite") as connection:
        connection.execute("UPDATE scans SET state = 'running', tries = ? WHERE \"case\" = ?", (tries, case))


def test_scans_under_way_when_a_process_ended_come_last_and_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    inputs = three(tmp_path)
    run(tmp_path, catalogue, *inputs)
    for case in "ab":
        interrupted(tmp_path, case, 1)
    (tmp_path / "out" / "c" / "mask.nii.gz").unlink()
    predictor = Brightness()
    assert run(tmp_path, catalogue, *inputs, predictor=predictor).done == 3
    assert predictor.seen == ["c.nii.gz", "a.nii.gz", "b.nii.gz"]


def test_a_scan_that_takes_the_process_down_three_times_is_put_aside(tmp_path: Path, catalogue: Catalogue) -> None:
    inputs = three(tmp_path)
    run(tmp_path, catalogue, *inputs)
    interrupted(tmp_path, "a", 3)
    predictor = Brightness()
    batch = run(tmp_path, catalogue, *inputs, predictor=predictor)
    assert states(batch)["a"] == "failed" and predictor.seen == []
    assert "the process ended 3 times" in str(batch.scans[0].error)
    assert rows(tmp_path)["a"].error_code == "crashed"
    assert run(tmp_path, catalogue, *inputs, retry=True).done == 1


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


# What a person gets to see


def test_the_report_of_a_scan_says_what_was_found_by_whom(tmp_path: Path, catalogue: Catalogue) -> None:
    run(tmp_path, catalogue, write_scan(tmp_path / "in" / "a.nii.gz"))
    report = json.loads((tmp_path / "out" / "a" / "report.json").read_text())
    mask = nib.load(tmp_path / "out" / "a" / "mask.nii.gz")
    voxels = int((np.asarray(mask.dataobj) == 1).sum())
    found = report["structures"]["ball"]
    assert (found["voxels"], found["value"], found["confidence"]) == (voxels, 1, 0.95)
    assert found["ml"] == pytest.approx(voxels * 1.5 / 1000)
    assert report["input"] == "../in/a.nii.gz" and report["masks"] == ["mask.nii.gz"] and report["flags"] == []
    numbers = {"precision": "float32"}
    assert report["model"] == {"name": "balls", "version": "3", "hash": "a" * 64, **numbers}
    row = rows(tmp_path)["a"]
    assert row.outputs == {p.name: sha256(p) for p in (tmp_path / "out" / "a").iterdir()}
    assert set(row.seconds) == {"read", "predict", "write"} and row.peak_mb is not None and row.peak_mb > 20
    assert len(row.input_hash) == 64 and row.model_hash == "a" * 64


def test_nothing_found_is_a_result_with_files_of_its_own(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "s", ball() // 4, AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s")
    assert batch.done == 1 and batch.scans[0].flags == ("nothing-found",)
    names = {p.name for p in (tmp_path / "out" / "s").iterdir()}
    assert names == {"mask.nii.gz", "mask.dcm", "preview.png", "preview-plain.jpg", "report.json"}


def test_every_dicom_object_of_a_scan_is_written_and_tells_the_same(tmp_path: Path, catalogue: Catalogue) -> None:
    from pydicom import dcmread

    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    writers = ["nifti", "dicom-seg", "dicom-rtstruct", "dicom-sr"]
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=writers)
    assert batch.done == 1 and batch.scans[0].flags == ()
    folder = tmp_path / "out" / "s"
    names = ["mask.nii.gz", "mask.dcm", "rtstruct.dcm", "report.dcm"]
    assert {p.name for p in folder.iterdir()} == {*names, "preview.png", "preview-plain.jpg", "report.json"}
    report = json.loads((folder / "report.json").read_text())
    assert report["masks"] == names
    (entry,) = Finder(catalogue, model(tmp_path / "model").plan, tmp_path / "out").find([tmp_path / "s"])
    image = entry.items[0]
    mask = Volume(np.asarray(nib.load(folder / "mask.nii.gz").dataobj), image.affine, item=image)
    labels = model(tmp_path / "model").labels
    for name in ("mask.dcm", "rtstruct.dcm"):
        prove(folder / name, mask, labels, measure(mask, labels), catalogue)
        with pytest.raises(DataError, match=r"ball came back with \d+ voxels"):
            less = mask.with_array(np.where(np.arange(SHAPE[2]) == 7, 0, mask.array))
            prove(folder / name, less, labels, measure(less, labels), catalogue)
    objects = [dcmread(folder / name, stop_before_pixels=True) for name in names[1:]]
    assert len({one.StudyInstanceUID for one in objects}) == 1 and len({one.SeriesInstanceUID for one in objects}) == 3
    assert objects[0].SOPInstanceUID in str(objects[2])
    again = run(tmp_path / "again", catalogue, tmp_path / "s", writers=writers)
    assert again.done == 1
    for one, name in zip(objects, names[1:], strict=True):
        other = dcmread(tmp_path / "again" / "out" / "s" / name, stop_before_pixels=True)
        assert other.SOPInstanceUID == one.SOPInstanceUID, "a second run replaces the first"


def test_writers_that_do_not_fit_a_scan_are_left_out(tmp_path: Path, catalogue: Catalogue) -> None:
    """DICOM objects of a scan that is not DICOM."""
    batch = run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"), writers=["nifti", "dicom-seg", "dicom-sr"])
    assert batch.done == 1
    names = {p.name for p in (tmp_path / "out" / "a").iterdir()}
    assert names == {"mask.nii.gz", "preview.png", "preview-plain.jpg", "report.json"}


def test_a_dicom_scan_gets_a_segmentation_that_is_proved(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    package = model(tmp_path / "model")
    assert run(tmp_path, catalogue, tmp_path / "s").done == 1
    array = (ball() > 100).astype(np.uint8) + (ball() > 200)
    (entry,) = Finder(catalogue, package.plan, tmp_path / "out").find([tmp_path / "s"])
    mask = Volume(array, entry.items[0].affine, item=entry.items[0])
    target = tmp_path / "out" / "s" / "mask.dcm"
    written = Volume(np.asarray(nib.load(target.with_name("mask.nii.gz")).dataobj), mask.affine)
    for right, volume in ((True, written), (False, written.with_array(np.roll(written.array, 1, 0)))):
        structures = measure(volume, package.labels)
        if right:
            prove(target, volume, package.labels, structures, catalogue)
        else:
            with pytest.raises(DataError, match=r"mask\.dcm: ball came back 1 mm away"):
                prove(target, volume, package.labels, structures, catalogue)


def test_a_name_that_the_format_shortens_is_found_and_one_that_is_missing_is_not_another(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    """A long string of DICOM holds 64 letters and no backslash."""
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    (entry,) = Finder(catalogue, model(tmp_path / "model").plan, tmp_path / "out").find([tmp_path / "s"])
    array = (ball() > 100).astype(np.uint8) + (ball() > 200)
    mask = Volume(array, entry.items[0].affine, item=entry.items[0])
    odd = Labels.of({"left " + "x" * 70: 1, "right\\lobe": 2})
    plain = Labels.of({"liver": 1, "core": 2})
    for name, labels in (("odd.dcm", odd), ("plain.dcm", plain)):
        write(mask, tmp_path / name, catalogue, labels, {}, writer="dicom-seg")
        prove(tmp_path / name, mask, labels, measure(mask, labels), catalogue)
    for other in ("liver lesion", "li", "spleen"):
        more = Labels.of({"liver": 1, other: 2})
        with pytest.raises(DataError, match=f"{other} is missing in what was written"):
            prove(tmp_path / "plain.dcm", mask, more, measure(mask, more), catalogue)


def test_no_file_of_a_batch_names_the_patient(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR", PatientName="Avasarala^Chrisjen", PatientID="PGBM-002")
    assert run(tmp_path, catalogue, tmp_path / "s", writers=("nifti",)).done == 1
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert not re.search(rb"Avasarala|PGBM-002", path.read_bytes()), path


def test_what_finds_a_scan_in_the_archive_is_for_its_owner_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    facts = {"AccessionNumber": "ACC-77", "StudyDate": "20260131", "SeriesDescription": "T1 <b>post</b>"}
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR", **facts)
    write_scan(tmp_path / "plain.nii.gz")
    assert run(tmp_path, catalogue, tmp_path / "s", writers=("nifti",)).done == 1
    run(tmp_path, catalogue, tmp_path / "plain.nii.gz")
    out = tmp_path / "out"
    holding = {path.name for path in out.rglob("*") if path.is_file() and b"ACC-77" in path.read_bytes()}
    assert holding == {"report.html", "archive.json"}, "not in the ledger, and in nothing that goes elsewhere"
    assert {(out / name).stat().st_mode & 0o777 for name in holding} == {0o600}
    text = (out / "report.html").read_text()
    assert "<b>ACC-77</b>" in text and "2026-01-31" in text and "T1 &lt;b&gt;post&lt;/b&gt;" in text
    assert set(recall(out)) == {"s"} and Ledger(out).get("plain").state == "done"


def test_without_an_accession_number_the_page_is_as_others_are(tmp_path: Path, catalogue: Catalogue) -> None:
    run(tmp_path, catalogue, write_scan(tmp_path / "plain.nii.gz"))
    assert not (tmp_path / "out" / "archive.json").exists()
    assert (tmp_path / "out" / "report.html").stat().st_mode & 0o777 == 0o666 & ~umask()


@pytest.mark.parametrize("text", ["", "[]", '{"s": 3}', '{"s": {"accession": [1]}, "s": {}}', "{" * 5000, "\0"])
def test_a_spoiled_file_of_origins_ends_no_batch(tmp_path: Path, catalogue: Catalogue, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "archive.json").write_text(text)
    assert run(tmp_path, catalogue, write_scan(tmp_path / "plain.nii.gz")).done == 1


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_paths_in_the_ledger_and_the_page_are_relative(tmp_path: Path, catalogue: Catalogue) -> None:
    batch = run(tmp_path, catalogue, *three(tmp_path), broken(tmp_path))
    page = (tmp_path / "out" / "report.html").read_text()
    assert str(tmp_path) not in page
    assert all(str(tmp_path) not in json.dumps([row.input, row.error]) for row in rows(tmp_path).values())
    assert batch.scans[0].input == str(tmp_path / "in" / "a.nii.gz"), "the caller is told as the caller said it"


class Page(HTMLParser):
    """The rows of the worklist, and every address that the page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [str(values[name]) for name in ("src", "href") if name in values]
        if tag == "tr" and values.get("class"):
            self.kinds.append(str(values["class"]))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_doubtful_scans_first_and_needs_nothing_else(tmp_path: Path, catalogue: Catalogue) -> None:
    class Doubtful(Brightness):
        def predict(self, volume: Volume) -> Any:
            self.confidence = 0.4 if volume.item and "b" in volume.item.path.name else 0.9
            return super().predict(volume)

    study = tmp_path / "in" / "study"
    make_series(study / "fits", ball(), AFFINE, Modality="MR", StudyInstanceUID="1.2")
    make_series(study / "scout", ball(), AFFINE, Modality="CT", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3.4")
    run(tmp_path, catalogue, *three(tmp_path), study, broken(tmp_path), predictor=Doubtful())
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and page.kinds == ["bad", "look", "good", "good", "good"]
    assert page.addresses and all((tmp_path / "out" / address).is_file() for address in page.addresses)
    assert "http://" not in text.replace("http-equiv", "") and "https://" not in text
    order = [text.index(f'<div class="case">{case}</div>') for case in ("broken", "b", "a", "scout")]
    assert order == sorted(order), "failed, doubtful, fine, left out"
    assert "it is CT, the model was trained on MR" in text and "the model is unsure (mean probability 40%)" in text
    assert "balls, version 3" in text and "aaaaaaaaaaaaaaaa" in text


def test_the_page_escapes_what_files_say(tmp_path: Path, catalogue: Catalogue) -> None:
    evil = "<script>alert(1)</script>"
    make_series(tmp_path / "in" / "s", ball(), AFFINE, Modality="MR", SeriesDescription="x")
    package = model(tmp_path / "model", labels=((1, evil), (2, 'a"b')), facts={"name": evil})
    (tmp_path / "out").mkdir()
    with Ledger(tmp_path / "out") as ledger:
        ledger.put(Row("odd", f"../{evil}", state="failed", error=evil))
    run(tmp_path, catalogue, tmp_path / "in", package=package, writers=("nifti",))
    text = (tmp_path / "out" / "report.html").read_text()
    assert evil not in text and text.count(html.escape(evil)) >= 3


def test_the_page_keeps_the_scans_of_earlier_calls(tmp_path: Path, catalogue: Catalogue) -> None:
    a, b, _ = three(tmp_path)
    run(tmp_path, catalogue, a)
    run(tmp_path, catalogue, b, package=model(tmp_path / "model", hash="b" * 64))
    text = (tmp_path / "out" / "report.html").read_text()
    assert len(Page(text).kinds) == 2 and "made by another model: balls 3, aaaaaaaaaaaaaaaa" in text


def test_what_is_left_out_or_failed_is_said_on_the_way(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    make_series(tmp_path / "st" / "mr", ball(), AFFINE, Modality="MR", StudyInstanceUID="1.2")
    make_series(tmp_path / "st" / "ct", ball(), AFFINE, Modality="CT", StudyInstanceUID="1.2", SeriesInstanceUID="1.9")
    run(tmp_path, catalogue, tmp_path / "st", broken(tmp_path), progress=Progress())
    said = capsys.readouterr()
    assert "left out: ct: it is CT" in said.err and "failed: broken: " in said.err and said.out == ""


def labelled(array: Any) -> list[str]:
    volume, labels = Volume(array.astype(np.uint8), np.eye(4)), Labels.of({"ball": 1, "core": 2})
    confidence = {"ball": 0.9, "core": 0.9}
    return [flag.code for flag in flags_of(volume, measure(volume, labels, confidence))]


def test_flags_say_what_a_mask_gives_reason_to_look_at() -> None:
    good = (ball() > 100).astype(int) + (ball() > 200)
    assert labelled(good) == []
    assert labelled(np.zeros(SHAPE)) == ["nothing-found"]
    assert labelled(good * (good == 1)) == ["empty-structure"]
    cut = np.roll(good, 8, 0)
    cut[:5] = 0
    assert labelled(cut) == ["touches-border"]
    noisy = good.copy()
    noisy[1:20:3, 1, 1] = 1
    assert labelled(noisy) == ["tiny-components"]
    two = np.concatenate([good, good], 0)
    assert labelled(two) == [], "two kidneys are not noise"


def test_volumes_and_centroids_are_those_of_the_patient() -> None:
    array = np.zeros((10, 10, 10), np.uint8)
    array[2:4, 5, 6:9] = 300 % 256
    affine = np.array([[0, -2.0, 0, 10], [1.0, 0, 0, -5], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    found = measure(Volume(array, affine), Labels.of({"x": 44}))["x"]
    assert found.voxels == 6 and found.ml == pytest.approx(0.036)
    assert found.centroid == pytest.approx((0.0, -2.5, 22.0))
    flat = measure(Volume(array[:, 5], np.diag([0.5, 2, 1, 1])), Labels.of({"x": 44}))["x"]
    assert flat.ml is None and flat.mm2 == pytest.approx(6.0)
