"""The ledger: what it knows after being killed, with two at once, with a full disk or a damaged file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from voxgraft.batch.ledger import LEDGER, Ledger, Row
from voxgraft.errors import DataError
from voxgraft.support.lock import sole_owner

HOLD = """
import sys, time
from pathlib import Path
from voxgraft.batch.ledger import Ledger, Row
from voxgraft.support.lock import sole_owner
folder = Path(sys.argv[1])
with sole_owner(folder, "working in"), Ledger(folder) as ledger:
    for case in ("a", "b"):
        ledger.put(Row(case, case))
    ledger.begin("a")
    print("held", flush=True)
    time.sleep(60)
"""


def finished(ledger: Ledger, case: str) -> None:
    ledger.begin(case)
    ledger.finish(
        case,
        outputs={"mask.nii.gz": "f" * 64},
        structures={"liver": {"ml": 3.5, "confidence": 0.8}, "spleen": {"ml": 1.0, "confidence": 0.6}},
        seconds={"read": 0.1, "predict": 2.0, "write": 0.3},
        peak_mb=812.5,
        flags=[{"code": "low-confidence", "message": "look"}],
    )


def test_a_row_comes_back_as_it_was_put(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.put(Row("a", "../in/a.nii.gz", series="1.2.3", input_stat="s", model="m 1", model_hash="h"))
        finished(ledger, "a")
    with Ledger(tmp_path) as ledger:
        (row,) = ledger.rows()
    assert (row.case, row.input, row.series, row.state, row.tries) == ("a", "../in/a.nii.gz", "1.2.3", "done", 1)
    assert row.outputs == {"mask.nii.gz": "f" * 64} and row.seconds["predict"] == 2.0 and row.peak_mb == 812.5
    assert row.confidence == 0.6 and row.flags[0]["code"] == "low-confidence"
    assert row.created and row.started and row.finished


def test_a_new_try_forgets_what_the_last_one_left(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.put(Row("a", "a"))
        finished(ledger, "a")
        ledger.begin("a")
        row = ledger.get("a")
    assert (row.state, row.tries, row.outputs, row.flags, row.structures) == ("running", 2, {}, [], {})


def test_a_scan_whose_process_was_killed_waits_again_and_its_try_counts(
    tmp_path: Path, repo_path: dict[str, str]
) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=repo_path)
    assert child.stdout is not None and child.stdout.readline() == b"held\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with sole_owner(tmp_path, "working in"), Ledger(tmp_path) as ledger:
        a, b = ledger.rows()
    assert (a.state, a.tries, a.interrupted) == ("waiting", 1, True)
    assert (b.state, b.tries, b.interrupted) == ("waiting", 0, False)


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path, repo_path: dict[str, str]) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=repo_path)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        with (
            pytest.raises(DataError, match=f"another voxgraft .*process {child.pid}"),
            sole_owner(tmp_path, "working in"),
        ):
            pytest.fail("two hold one folder")
    finally:
        child.kill()
        child.wait()
    with sole_owner(tmp_path, "working in") as locked:
        assert locked


def test_released_scans_wait_and_their_try_does_not_count(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.put(Row("a", "a"))
        ledger.put(Row("b", "b"))
        finished(ledger, "b")
        ledger.begin("a")
        ledger.release()
        states = {row.case: (row.state, row.tries, row.interrupted) for row in ledger.rows()}
    assert states == {"a": ("waiting", 0, False), "b": ("done", 1, False)}


@pytest.mark.parametrize("damage", ["garbage", "cut", "overwritten", "row", "older", "foreign", "later"])
def test_a_damaged_ledger_is_said_in_a_sentence_that_says_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / LEDGER
    with Ledger(tmp_path) as ledger:
        for number in range(100):
            ledger.put(Row(f"case-{number}", "x" * 400))
    whole = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(b"this is not a database, whatever its name says" * 40)
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "overwritten":
        path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    else:
        with sqlite3.connect(path) as connection:
            if damage == "row":
                connection.execute("UPDATE scans SET outputs = '{cut'")
            elif damage == "foreign":
                connection.executescript("DROP TABLE scans; CREATE TABLE scans (x); PRAGMA user_version = 0")
            else:
                connection.execute(f"PRAGMA user_version = {1 if damage == 'older' else 99}")
    sentence = r"ledger\.sqlite: is .*; .*move it away to start again"
    with pytest.raises(DataError, match=sentence) as caught, Ledger(tmp_path) as ledger:
        ledger.rows()
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DataError, match=r"ledger\.sqlite: the ledger cannot be used: .*full"):
            for number in range(200):
                ledger.put(Row(f"case-{number}", "x" * 500))


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written to"), sole_owner(tmp_path / "file" / "out", "working in"):
        pytest.fail("it was made")
