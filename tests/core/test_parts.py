"""`voxgraft segment --part K/N`: processes that share nothing but a folder, and do each scan once between them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import Brightness, ball, model, write_scan

from voxgraft.batch.entry import Entry
from voxgraft.batch.ledger import Ledger, Row
from voxgraft.batch.ledger_view import BatchView, LedgerView
from voxgraft.batch.parts import Part, number_for, part_from, part_from_slurm
from voxgraft.batch.queue import Batch
from voxgraft.batch.segment import segment
from voxgraft.batch.status import duration, status_of
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import DataError, UsageError
from voxgraft.review.state.store import ReviewStore
from voxgraft.support.lock import LOCK, sole_owner
from voxgraft.support.progress import Progress


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number in range(6):
        write_scan(tmp_path / "in" / f"s{number}.nii.gz", ball(radius=4 + number / 4))
    return tmp_path / "in"


def run(
    folder: Path, catalogue: Catalogue, part: str | None, *inputs: Path, predictor: Any = None, **more: Any
) -> Batch:
    chosen = model(folder / "model", **more)
    return segment(
        chosen, inputs or [folder / "in"], folder / "out", catalogue, part=part, predictor=predictor or Brightness()
    )


def states(batch: Batch) -> dict[str, str]:
    return {scan.case: scan.state for scan in batch.scans}


def masks(out: Path) -> dict[str, Any]:
    return {path.parent.name: nib.load(path).get_fdata() for path in sorted(out.glob("*/mask.nii.gz"))}


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "a/b", "1/0", "-1/2", "1/2/3", "1/1000000000", "1/99999999999", "", "/", "1", "1.0/2", "²/4"]
)
def test_a_wrong_part_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"write K/N, .* as in 2/8; K is from 1 to N"):
        part_from(text)


def test_the_only_part_is_the_batch_itself() -> None:
    assert part_from("1/1") is None and part_from(" 3 / 4 ") == Part(3, 4)


def array(task: str, low: str, high: str, count: str, step: str = "1") -> dict[str, str]:
    names = ("ID", "MIN", "MAX", "COUNT", "STEP")
    return {f"SLURM_ARRAY_TASK_{name}": text for name, text in zip(names, (task, low, high, count, step), strict=True)}


def test_a_job_array_says_the_part() -> None:
    assert part_from_slurm({}) is None and part_from_slurm({"SLURM_ARRAY_TASK_ID": "3"}) is None
    assert part_from_slurm(array("3", "1", "8", "8")) == "3/8"
    assert part_from_slurm(array("0", "0", "7", "8")) == "1/8"
    assert part_from_slurm(array("5", "1", "9", "3", "4")) == "2/3"
    for odd in (("7", "1", "7", "3"), ("a", "1", "2", "2"), ("2", "1", "9", "3", "4"), ("1", "1", "4", "4", "0")):
        with pytest.raises(
            UsageError, match=r"do not name a part of a batch \(SLURM_ARRAY_TASK_ID=.*name it " r"with --part"
        ):
            part_from_slurm(array(*odd))


def test_the_part_of_a_scan_depends_on_the_scan_alone() -> None:
    entries = [
        Entry((), Path(name), f"../in/{name}", series) for name in ("a", "b", "ü\udcfc") for series in ("", "1.2")
    ]
    assert [number_for(entry, 5) for entry in entries] == [3, 5, 3, 3, 4, 1], "as on every machine and in every version"
    many = [number_for(Entry((), Path("x"), f"../in/{number}"), 8) for number in range(4000)]
    assert all(430 < many.count(number) < 570 for number in range(1, 9))


def test_parts_do_every_scan_once_and_one_report_shows_all(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    whole = segment(model(tmp_path / "model"), [scans], tmp_path / "whole", catalogue, predictor=Brightness())
    seen = []
    for part in ("2/3", "3/3", "1/3"):
        predictor = Brightness()
        batch = run(tmp_path, catalogue, part, predictor=predictor)
        assert batch.exit_code == 0 and batch.done == len(predictor.seen) == len(batch.scans)
        seen += predictor.seen
    assert sorted(seen) == sorted(path.name for path in scans.iterdir())
    out = tmp_path / "out"
    assert masks(out).keys() == masks(whole.out).keys()
    assert all(np.array_equal(mask, masks(whole.out)[case]) for case, mask in masks(out).items())
    assert not (out / "ledger.sqlite").exists() and not list(out.rglob(".tmp*"))
    assert not list(out.rglob("*-wal")), "no log with an index that only one machine can share"
    page = (out / "report.html").read_text()
    assert all(f"s{number}" in page for number in range(6))
    status = status_of(out)
    assert status.sums == {
        **status.sums,
        "done": 6,
        "failed": 0,
        "running": 0,
        "missing": 0,
        "at_work": 0,
        "left_out": 0,
    }
    assert [part.part for part in status.parts] == ["1/3", "2/3", "3/3"] and sum(
        part.done for part in status.parts
    ) == 6
    assert "nothing is missing" in status.text()


def test_a_part_that_is_run_again_does_what_is_missing(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    assert run(tmp_path, catalogue, "1/2").done and run(tmp_path, catalogue, "2/2").done
    first = next(case for case in masks(tmp_path / "out"))
    (tmp_path / "out" / first / "mask.nii.gz").unlink()
    write_scan(tmp_path / "in" / "later.nii.gz")
    batches = [run(tmp_path, catalogue, part) for part in ("1/2", "2/2")]
    assert {case for batch in batches for case, state in states(batch).items() if state == "done"} == {first, "later"}
    assert sum(batch.skipped for batch in batches) == 5


def test_another_model_in_other_parts_is_told(
    tmp_path: Path, catalogue: Catalogue, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path, catalogue, "1/2")
    moved = model(tmp_path / "model", hash="b" * 64)
    out, options = tmp_path / "out", {"predictor": Brightness(), "progress": Progress()}
    for _ in range(2):
        segment(moved, [scans], out, catalogue, part="2/2", **options)
        assert f"in other parts another model segmented {first.done} scans (balls 3)" in capsys.readouterr().err
    segment(moved, [scans], out, catalogue, part="1/2", **options)
    segment(moved, [scans], out, catalogue, part="2/2", **options)
    assert "in other parts" not in capsys.readouterr().err


def test_a_batch_is_divided_in_one_way(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    out = tmp_path / "out"
    run(tmp_path, catalogue, "1/2")
    before = sorted(out.rglob("*"))
    for other, told in (("1/3", "in 3 parts"), (None, "in one part"), ("1/1", "in one part")):
        with pytest.raises(UsageError, match=f"was started in 2 parts and cannot be continued {told}.*--part K/2, or"):
            run(tmp_path, catalogue, other)
    assert sorted(out.rglob("*")) == sorted({*before, out / LOCK}), "nothing was begun"
    shutil.rmtree(out)
    run(tmp_path, catalogue, "1/1")
    assert run(tmp_path, catalogue, None).skipped == 6
    with pytest.raises(UsageError, match="was started in one part and cannot be continued in 2 parts"):
        run(tmp_path, catalogue, "1/2")
    assert not (out / "parts").exists()


def test_a_spoiled_division_is_said(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    run(tmp_path, catalogue, "1/2")
    (tmp_path / "out" / "parts" / "parts.json").write_text('{"parts": "two"}')
    with pytest.raises(DataError, match=r"parts\.json: cannot be read .*the N of the folders"):
        run(tmp_path, catalogue, "2/2")
    with pytest.raises(DataError, match=r"parts\.json"):
        status_of(tmp_path / "out")


def test_a_part_belongs_to_one_process(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    run(tmp_path, catalogue, "1/2")
    with sole_owner(tmp_path / "out" / "parts" / "1-of-2", "segmenting into"):
        with pytest.raises(DataError, match=r"1-of-2: another voxgraft is segmenting into this folder \(process"):
            run(tmp_path, catalogue, "1/2")
        assert run(tmp_path, catalogue, "2/2").done, "the other part is free"


def test_names_of_scans_are_those_of_an_undivided_batch(tmp_path: Path, catalogue: Catalogue) -> None:
    for folder in ("a", "b", "c", "d"):
        write_scan(tmp_path / "in" / folder / "scan.nii.gz")
    for part in ("2/2", "1/2"):
        run(tmp_path, catalogue, part)
    assert sorted(masks(tmp_path / "out")) == ["a-scan", "b-scan", "c-scan", "d-scan"]


def test_a_name_of_another_part_is_not_given_again(tmp_path: Path, catalogue: Catalogue) -> None:
    places = [
        write_scan(tmp_path / "in" / folder / "scan.nii.gz", ball(radius=4 + n)) for n, folder in enumerate("abcd")
    ]
    numbers = {path: number_for(Entry((), path, f"../in/{path.parent.name}/scan.nii.gz"), 2) for path in places}
    one, other = (
        next(path for path in places if numbers[path] == 1),
        next(path for path in places if numbers[path] == 2),
    )
    run(tmp_path, catalogue, "1/2", one)
    batch = run(tmp_path, catalogue, "2/2", other)
    assert len(batch.scans) == 1 and batch.scans[0].case.startswith("scan-") and len(masks(tmp_path / "out")) == 2
    assert run(tmp_path, catalogue, "2/2", other).skipped == 1, "and it keeps the one that it has"
    (tmp_path / "list.csv").write_text(f"path,case\n{other},scan\n")
    with pytest.raises(UsageError, match="calls a scan 'scan', as part 1/2 calls another one"):
        run(tmp_path, catalogue, "2/2", tmp_path / "list.csv")


def test_channels_of_one_case_stay_together(tmp_path: Path, catalogue: Catalogue) -> None:
    for case in ("x", "y", "z"):
        for channel in ("t1", "flair"):
            write_scan(tmp_path / "in" / f"{case}_{channel}.nii.gz")
    two = {"channels": ("t1", "flair"), "normalisation": ({}, {})}
    batches = [run(tmp_path, catalogue, part, **two) for part in ("1/3", "2/3", "3/3")]
    assert sorted(case for batch in batches for case in states(batch)) == ["x", "y", "z"]
    assert sum(batch.done for batch in batches) == 3 and not any(batch.failed for batch in batches)


def test_a_part_without_scans_is_no_failure(tmp_path: Path, catalogue: Catalogue) -> None:
    write_scan(tmp_path / "in" / "only.nii.gz")
    batches = [run(tmp_path, catalogue, f"{number}/4") for number in range(1, 5)]
    assert [batch.exit_code for batch in batches] == [0] * 4 and sum(batch.done for batch in batches) == 1


KILLED = """
import sys
from pathlib import Path
from batch_scans import Brightness, model
from voxgraft.batch.segment import segment
from voxgraft.discovery import discover
root, part = Path(sys.argv[1]), sys.argv[2]
segment(model(root / "model"), [root / "in"], root / "out", discover(), part=part, predictor=Brightness(slow=0.4))
"""


def test_a_part_killed_beside_another_loses_nothing(
    tmp_path: Path, catalogue: Catalogue, scans: Path, repo_path: dict[str, str]
) -> None:
    path = os.pathsep.join([repo_path["PYTHONPATH"], str(Path(__file__).parent)])
    environment = {**repo_path, "PYTHONPATH": path}
    out = tmp_path / "out"
    children = [
        subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), part], env=environment)
        for part in ("1/2", "2/2")
    ]
    deadline = time.monotonic() + 120
    home = out / "parts" / "1-of-2"
    while time.monotonic() < deadline and children[0].poll() is None:
        if (home / "ledger.sqlite").exists() and (status := _looked(out)) and status.parts[0].done:
            assert status.parts[0].at_work and status.sums["done"] >= 1
            break
        time.sleep(0.02)
    os.kill(children[0].pid, signal.SIGKILL)
    assert children[0].wait() == -signal.SIGKILL and children[1].wait(60) == 0
    killed = status_of(out).parts[0]
    assert killed.done and killed.missing and not killed.at_work and killed.running == 0
    predictor = Brightness()
    batch = run(tmp_path, catalogue, "1/2", predictor=predictor)
    assert batch.failed == 0 and batch.skipped == killed.done and len(predictor.seen) == killed.missing
    assert len(masks(out)) == 6 and status_of(out).sums["done"] == 6 and not list(out.rglob(".tmp*"))
    assert all(f"s{number}" in (out / "report.html").read_text() for number in range(6))


def _looked(out: Path) -> Any:
    try:
        return status_of(out)
    except (DataError, UsageError):  # it is just being made
        return None


def test_a_change_that_was_killed_half_made_is_read_as_it_was_before(tmp_path: Path, repo_path: dict[str, str]) -> None:
    with Ledger(tmp_path, shared=True) as ledger:
        for number in range(200):
            ledger.put(Row(f"s{number}", "x" * 200))
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.executescript('PRAGMA journal_mode=TRUNCATE; PRAGMA cache_size=1; BEGIN')\n"
        "c.execute(\"UPDATE scans SET state = 'done'\")\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "ledger.sqlite")], env=repo_path)
    content = (tmp_path / "ledger.sqlite").read_bytes()
    assert content.count(b"done") > 50 and (tmp_path / "ledger.sqlite-journal").stat().st_size > 4096, "half-made"
    _, rows = LedgerView(tmp_path, shared=True).rows()
    assert {row.state for row in rows.values()} == {"waiting"} and len(rows) == 200
    assert (tmp_path / "ledger.sqlite").read_bytes() == content, "nothing was written"
    with Ledger(tmp_path, shared=True) as ledger:
        assert {row.state for row in ledger.rows()} == {"waiting"}


def test_a_damaged_ledger_of_one_part_is_told_and_the_others_are_counted(
    tmp_path: Path, catalogue: Catalogue, scans: Path
) -> None:
    out = tmp_path / "out"
    done = [run(tmp_path, catalogue, part).done for part in ("1/2", "2/2")]
    (out / "parts" / "1-of-2" / "ledger.sqlite").write_bytes(b"no ledger" * 500)
    status = status_of(out)
    assert status.exit_code == 3 and status.sums["done"] == done[1] and "cannot be read" in status.parts[0].problem
    assert "part 1/2: " in status.text() and "nothing else is missing" in status.text()
    view = BatchView(out)
    assert len(view.rows()[1]) == done[1] and list(map(str, view.damaged)) == ["1/2"] and not view.running()
    with pytest.raises(DataError, match="is not a ledger, or is damaged"):
        run(tmp_path, catalogue, "1/2")
    (out / "parts" / "2-of-2" / "ledger.sqlite").write_bytes(b"")
    status = status_of(out)
    assert status.sums["done"] == 0 and not status.parts[1].problem, "it was just being made"
    (out / "parts" / "2-of-2" / "ledger.sqlite").write_bytes(b"no ledger" * 500)
    with pytest.raises(DataError, match="cannot be read"):
        status_of(out)


def test_a_part_that_has_not_begun_is_missing(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    done = run(tmp_path, catalogue, "2/2").done
    status = status_of(tmp_path / "out")
    assert status.sums["missing"] == 6 - done and status.parts[0].missing == 6 - done and not status.parts[0].at_work
    assert status.sums["seconds_left"] is None and "the same command does what is missing" in status.text()
    assert json.loads(json.dumps(status.document()))["parts"][0]["part"] == "1/2"


def test_the_status_of_an_undivided_batch_and_of_none(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    with pytest.raises(UsageError, match=r"out: there is no such folder"):
        status_of(tmp_path / "out")
    with pytest.raises(UsageError, match=r"in: holds no ledger of a batch"):
        status_of(scans)
    run(tmp_path, catalogue, None)
    with sqlite3.connect(tmp_path / "out" / "ledger.sqlite") as connection:
        connection.execute("UPDATE scans SET state = 'running' WHERE \"case\" IN ('s1', 's2')")
    (tmp_path / "out" / LOCK).write_text(json.dumps({"process": os.getpid(), "machine": os.uname().nodename}))
    os.utime(tmp_path / "out" / LOCK, (time.time() - 40,) * 2)
    status = status_of(tmp_path / "out")
    (part,) = status.parts
    assert (part.part, part.at_work, part.done, part.running, part.missing) == (None, True, 4, 2, 0)
    assert part.seconds_left is not None and 10 < part.seconds_left < 25 and status.text().endswith("\nat work")
    assert (duration(7), duration(200), duration(7500)) == ("7 s", "3 min 20 s", "2 h 05 min")


def test_the_review_and_later_batches_see_all_parts(tmp_path: Path, catalogue: Catalogue, scans: Path) -> None:
    for part in ("1/2", "2/2"):
        run(tmp_path, catalogue, part)
    store = ReviewStore(tmp_path / "out", catalogue)
    try:
        assert sorted(store.rows) == [f"s{number}" for number in range(6)] and not store.ledger.running()
    finally:
        store.close()
    again = segment(model(tmp_path / "model"), [tmp_path], tmp_path / "next", catalogue, predictor=Brightness())
    assert again.done == 6, "the masks of the parts are not scans"
