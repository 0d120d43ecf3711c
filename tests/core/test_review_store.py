"""The state of a review: the audit log, decisions, masks with undo, readers who do not see each other."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from review_batches import Browser, accept, opened

from voxgraft.batch.ledger import Ledger
from voxgraft.batch.ledger_view import LedgerView
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import DataError, UsageError
from voxgraft.review.state.audit import AuditLog, read_log
from voxgraft.review.state.errors import Refused
from voxgraft.review.state.store import ReviewStore
from voxgraft.support.files import sha256


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "review" / "audit.jsonl").read_text().splitlines()]


def test_a_decision_is_on_disk_and_holds_when_the_server_is_started_again(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        decision = accept(store, "scan-0", "ball", seconds=12.0, note="fine")
        assert (decision.model, decision.model_version, decision.model_hash) == ("balls", "3", "a" * 64)
        assert decision.mask_before == decision.mask_after == sha256(out / "scan-0" / "mask.nii.gz")
        assert store.seen("scan-0", "Ada").review_state == "started"
        accept(store, "scan-0", "core")
        assert store.seen("scan-0", "Ada").review_state == "reviewed"
    with opened(out, catalogue) as store:
        assert [one.structure for one in store.decisions("scan-0")] == ["ball", "core"]
        assert store.seen("scan-0", "Ada").finished == {"ball": 1, "core": 2}
        assert store.told == []


def test_a_decision_is_taken_back_by_another_one_and_the_log_keeps_both(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        accept(store, "scan-0", "ball")
        accept(store, "scan-0", "ball", verdict="reopened")
        assert store.seen("scan-0", "Ada").finished == {}
        accept(store, "scan-0", "ball", verdict="rejected", reason=store.reasons[0])
        assert store.seen("scan-0", "Bea").holds["ball"].verdict == "rejected"
    assert [line["verdict"] for line in lines(out) if line["kind"] == "decision"] == [
        *("accepted", "reopened", "rejected")
    ]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"verdict": "good"}, "a verdict is one of"),
        ({"verdict": "rejected"}, "a rejection needs a reason"),
        ({"verdict": "rejected", "reason": "because"}, "a rejection needs a reason"),
        ({"verdict": "corrected"}, "the structure was not changed"),
        ({"structure": "heart"}, "no such structure"),
        ({"mask": "0" * 64}, "segmented again"),
        ({"note": "x" * 5000}, "at most"),
    ],
)
def test_what_cannot_be_decided_is_said_in_a_sentence(
    made: Path, catalogue: Catalogue, more: dict[str, str], text: str
) -> None:
    with opened(made, catalogue) as store:
        with pytest.raises(Refused, match=text):
            accept(store, "scan-0", **{"structure": "ball", **more})
        assert store.decisions() == []


def test_a_failed_scan_is_in_the_list_and_can_be_put_aside(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        first = browser.json("/api/worklist")["scans"][0]
        assert (first["case"], first["state"], first["review_state"]) == ("odd", "failed", "open")
        assert "a strange scan" in first["error"]
        assert browser.decide("odd", "", "accepted", mask="").status_code == 400
        assert browser.decide("odd", "", "not-assessable", mask="").status_code == 201
        assert browser.json("/api/scans/odd")["review_state"] == "reviewed"


def test_a_torn_last_line_is_set_aside_and_told(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        accept(store, "scan-0", "ball")
    log = out / "review" / "audit.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"n": 3, "kind": "decis')
    with opened(out, catalogue) as store:
        assert "not whole" in store.told[0] and log.read_bytes() == whole
        assert len(list(log.parent.glob("audit.torn-*"))) == 1
        accept(store, "scan-0", "core")
    assert read_log(log).faults == []


@pytest.mark.parametrize("how", ["changed", "taken out", "swapped", "no JSON"])
def test_a_broken_chain_is_told_with_its_line_and_the_rest_is_read(out: Path, catalogue: Catalogue, how: str) -> None:
    with opened(out, catalogue) as store:
        for structure in ("ball", "core", ""):
            accept(store, "scan-0", structure)
    log = out / "review" / "audit.jsonl"
    rows = log.read_text().splitlines()
    if how == "changed":
        rows[1] = rows[1].replace("accepted", "rejected")
    elif how == "taken out":
        del rows[1]
    elif how == "swapped":
        rows[0], rows[1] = rows[1], rows[0]
    else:
        rows[1] = "nonsense"
    log.write_text("\n".join(rows) + "\n")
    expected = {"changed": 3, "taken out": 2, "swapped": 1, "no JSON": 2}[how]
    with opened(out, catalogue) as store:
        assert f"audit.jsonl: line {expected}: " in store.told[0]
        assert Browser.of(store).json("/api/session")["warnings"] == store.told
        accept(store, "scan-1", "ball")
    assert next(fault.line for fault in read_log(log).faults) == expected


def test_a_line_that_does_not_fit_on_the_disk_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path)
    kept: list[Any] = []
    log.append("reader", {"reader": "Ada"}, kept.append)
    with monkeypatch.context() as patched:
        patched.setattr("os.write", lambda descriptor, data: _half(descriptor, data))
        with pytest.raises(DataError, match="the decision was not saved"):
            log.append("reader", {"reader": "Bea"}, kept.append)
    log.append("reader", {"reader": "Cia"}, kept.append)
    log.close()
    read = read_log(log.path)
    assert [one["reader"] for one in read.entries] == ["Ada", "Cia"] == [one["reader"] for one in kept]
    assert (read.faults, read.torn) == ([], b"")


def _half(descriptor: int, data: bytes) -> int:
    return os.pwrite(descriptor, data[: len(data) // 2], 0)


def test_a_second_server_is_refused_and_a_look_is_not(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        with pytest.raises(DataError, match="another `voxgraft review`"):
            ReviewStore(out, catalogue)
        accept(store, "scan-0", "ball")
        with opened(out, catalogue, write=False) as other:
            assert len(other.decisions()) == 1
            with pytest.raises(Refused, match="read-only"):
                accept(other, "scan-0", "core")


def test_no_batch_no_review(tmp_path: Path, catalogue: Catalogue) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="voxgraft segment"):
            ReviewStore(folder, catalogue)


def test_the_ledger_is_read_while_the_batch_writes_and_is_never_written(out: Path) -> None:
    with Ledger(out) as ledger:
        view = LedgerView(out)
        number, rows = view.rows()
        assert rows["scan-0"].state == "done" and view.rows()[0] == number
        ledger.begin("scan-0")
        changed, rows = view.rows()
        assert changed > number and rows["scan-0"].state == "running" and view.running()
        assert rows["scan-1"] is view.rows()[1]["scan-1"]
    before = {path.name: path.read_bytes() for path in out.glob("ledger*")}
    LedgerView(out).rows()
    assert {path.name: path.read_bytes() for path in out.glob("ledger*")} == before


def test_what_a_killed_batch_left_is_read_where_nothing_may_be_written(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.fork() == 0:
        Ledger(out).begin("scan-0")
        os._exit(9)
    os.wait()
    assert (out / "ledger.sqlite-wal").stat().st_size
    before = {path.name: path.read_bytes() for path in out.glob("ledger*")}
    monkeypatch.setattr(os, "access", lambda *_: False)
    view = LedgerView(out)
    assert view.rows()[1]["scan-0"].state == "running"
    assert {path.name: path.read_bytes() for path in out.glob("ledger*")} == before


@pytest.mark.parametrize("harm", ["gone", "empty", "nonsense", "later", "row"])
def test_a_damaged_ledger_is_one_sentence(out: Path, harm: str) -> None:
    path = out / "ledger.sqlite"
    if harm == "gone":
        path.unlink()
    elif harm in ("empty", "nonsense"):
        path.write_bytes(b"" if harm == "empty" else b"nonsense" * 1000)
    else:
        text = "PRAGMA user_version = 99" if harm == "later" else "UPDATE scans SET flags = 'x'"
        with sqlite3.connect(path) as connection:
            connection.execute(text)
        connection.close()
    with pytest.raises(DataError, match="ledger"):
        LedgerView(out)


def test_a_folder_that_may_not_be_written_can_be_looked_at(
    out: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "review").rename(out.parent / "models")
    monkeypatch.setattr(Path, "mkdir", _refuse)
    with opened(out, catalogue) as store:
        assert "cannot be written" in store.told[0]
        assert store.seen("scan-0", "").row.state == "done"
        assert store.enter("Ada") == "Ada"
        with pytest.raises(Refused, match="read-only"):
            accept(store, "scan-0", "ball")


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")
