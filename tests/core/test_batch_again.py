"""What a batch keeps: masks that a person corrected, and what stands in its folder from before."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import SHAPE, Brightness, ball, broken, model, rows, run, states, three, write_scan

from voxgraft.batch.dispatch import KEPT, Corrections, placed
from voxgraft.batch.entry import Entry
from voxgraft.batch.ledger import Ledger
from voxgraft.batch.outputs import Found, Outputs
from voxgraft.batch.segment import segment
from voxgraft.batch.task import ScanResult
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import DataError
from voxgraft.imaging.read import read
from voxgraft.support.files import sha256
from voxgraft.support.lock import sole_owner
from voxgraft.support.progress import Progress


def stamps(tmp_path: Path) -> dict[str, int]:
    """When each mask was written; a folder that is not whole yet has a temporary name."""
    masks = (tmp_path / "out").glob("[!.]*/mask.nii.gz")
    return {path.parent.name: path.stat().st_mtime_ns for path in masks}


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


WHY = {
    "input": "other files of the scan",
    "model": "another model",
    "options": "other options",
    "missing": "results missing or changed",
    "writers": "other options",
}


@pytest.mark.parametrize("change", WHY)
def test_a_scan_is_done_again_when_anything_has_changed(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str], change: str
) -> None:
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
    kept = change not in ("input", "missing")
    asked = run(tmp_path, catalogue, scan, **options, keep_done=True, progress=Progress())
    said = capsys.readouterr().err
    assert (asked.skipped, asked.done) == (int(kept), int(not kept))
    assert f"{'keeps' if kept else 'segments again'} 1 finished scan: {WHY[change]} (1)" in said
    assert run(tmp_path, catalogue, scan, **options, progress=Progress()).done == int(kept)
    said = capsys.readouterr().err
    assert (f"segments again 1 finished scan: {WHY[change]} (1)" in said) is kept is ("--keep-done" in said)
    assert run(tmp_path, catalogue, scan, **options).skipped == 1


def test_new_scans_are_done_beside_finished_ones_that_are_kept(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = three(tmp_path)
    run(tmp_path, catalogue, *inputs[:2])
    again = run(tmp_path, catalogue, *inputs, overlap=0.25, keep_done=True, progress=Progress())
    assert (again.done, again.skipped) == (1, 2)
    assert "keeps 2 finished scans: other options (2)" in capsys.readouterr().err


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


def test_ctrl_c_leaves_the_ledger_in_order_and_the_next_call_goes_on(tmp_path: Path, catalogue: Catalogue) -> None:
    inputs = three(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, catalogue, *inputs, predictor=Brightness(fails={"b.nii.gz": KeyboardInterrupt()}))
    kept = rows(tmp_path)
    assert (kept["a"].state, kept["b"].state, kept["b"].tries, kept["b"].interrupted) == ("done", "waiting", 0, False)
    assert (tmp_path / "out" / "report.html").exists()
    again = run(tmp_path, catalogue, *inputs)
    assert states(again) == {"a": "skipped", "b": "done", "c": states(again)["c"]} and again.failed == 0


def test_a_folder_in_use_is_said_and_left_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    with sole_owner(tmp_path / "out", "working in"), pytest.raises(DataError, match="another voxgraft is segmenting"):
        run(tmp_path, catalogue, scan)
    assert run(tmp_path, catalogue, scan).done == 1


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
    deadline = time.monotonic() + 120
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
