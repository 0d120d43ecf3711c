"""The state of a review: the audit log, decisions, masks with undo, readers who do not see each other."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import Brightness, model, write_scan
from review_batches import Browser, copy_of, nifti, opened

from voxgraft.batch.ledger import Ledger
from voxgraft.batch.ledger_view import LedgerView
from voxgraft.batch.segment import segment
from voxgraft.batch.worklist import Finder
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import DataError, UsageError
from voxgraft.review.state.assigning import assign_all
from voxgraft.review.state.audit import AuditLog, read_log
from voxgraft.review.state.errors import Conflict, Refused
from voxgraft.review.state.page import scan
from voxgraft.review.state.store import ReviewStore
from voxgraft.support.files import sha256


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return copy_of(made, tmp_path / "batch")


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "review" / "audit.jsonl").read_text().splitlines()]


def accept(store: ReviewStore, case: str, structure: str, reader: str = "Ada", **more: Any) -> Any:
    mask = store.seen(case, reader).mask
    return store.decide(case, reader, **{"structure": structure, "verdict": "accepted", "mask": mask, **more})


def drawn(store: ReviewStore, case: str, reader: str, value: int, start: int = 0, base: str | None = None) -> Any:
    """Save a mask in which a small block has another label."""
    seen = store.seen(case, reader)
    with store.editor.using(case, reader, None) as (_, working):
        array, affine = working.array.copy(), working.affine
    array[start : start + 2, 0:2, 0:2] = value
    return store.editor.save(case, reader, base or seen.mask, nifti(array, affine))


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


def test_accepting_what_was_changed_is_a_correction(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        drawn(store, "scan-0", "Ada", 2)
        assert accept(store, "scan-0", "core").verdict == "corrected"
        assert accept(store, "scan-0", "ball").verdict == "accepted"
        decision = accept(store, "scan-0", "")
        assert decision.verdict == "corrected"
        assert decision.mask_after == sha256(out / "review" / "masks" / "scan-0" / "Ada.nii.gz")
        assert decision.mask_before == sha256(out / "scan-0" / "mask.nii.gz")


def test_a_finished_structure_is_a_wall_until_it_is_reopened(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        accept(store, "scan-0", "ball")
        with pytest.raises(Conflict) as refused:
            drawn(store, "scan-0", "Ada", 1)
        assert refused.value.details["locked"] == {"ball": 8}
        assert not (out / "review" / "masks" / "scan-0").exists()
        drawn(store, "scan-0", "Ada", 2)
        accept(store, "scan-0", "core")
        with pytest.raises(Conflict, match="would change"):
            store.editor.undo("scan-0", "Ada")
        accept(store, "scan-0", "core", verdict="reopened")
        store.editor.undo("scan-0", "Ada")
        accept(store, "scan-0", "ball", verdict="reopened")
        drawn(store, "scan-0", "Ada", 1)


def test_undo_and_redo_go_on_after_the_server_was_started_again(out: Path, catalogue: Catalogue) -> None:
    def array(store: ReviewStore) -> Any:
        with store.editor.using("scan-0", "Ada", None) as (_, working):
            return working.array.copy()

    with opened(out, catalogue) as store:
        states = [array(store)]
        for start in (0, 3, 6):
            drawn(store, "scan-0", "Ada", 1, start)
            states.append(array(store))
        store.editor.undo("scan-0", "Ada")
    with opened(out, catalogue) as store:
        assert np.array_equal(array(store), states[2])
        assert store.seen("scan-0", "Ada").mine.ahead == 1
        store.editor.undo("scan-0", "Ada")
        saved = store.editor.undo("scan-0", "Ada")
        assert np.array_equal(array(store), states[0]) and not saved.can_undo
        assert not any(saved_structure["changed"] for saved_structure in saved.structures)
        with pytest.raises(Refused, match="nothing to undo"):
            store.editor.undo("scan-0", "Ada")
        for state in states[1:]:
            saved = store.editor.redo("scan-0", "Ada")
            assert np.array_equal(array(store), state)
        assert not saved.can_redo
        assert saved.structures[0]["voxels"] == int((states[3] == 1).sum())


def test_a_save_from_another_mask_is_refused_and_loses_nothing(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        first = store.seen("scan-0", "Ada").mask
        saved = drawn(store, "scan-0", "Ada", 1)
        with pytest.raises(Conflict) as refused:
            drawn(store, "scan-0", "Ada", 2, base=first)
        assert refused.value.details["current"] == saved.sha256
        assert sha256(out / "review" / "masks" / "scan-0" / "Ada.nii.gz") == saved.sha256
        assert store.seen("scan-0", "Bea").mask == first


def test_a_scan_that_is_segmented_again_is_told_and_no_work_is_lost(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        drawn(store, "scan-0", "Ada", 2)
        accept(store, "scan-0", "core")
        seen = store.seen("scan-1", "Ada").mask
        package = model(out.parent / "model", hash="b" * 64, facts={"version": "4"})
        segment(package, [out.parent / "in"], out, catalogue, predictor=Other())
        with pytest.raises(Conflict, match="segmented again"):
            accept(store, "scan-1", "ball", mask=seen)
        page = scan(store, "scan-0", "Ada")
        assert page["superseded"] and page["mask"]["id"] == "mine" and page["review_state"] == "open"
        assert not any(structure["locked"] for structure in page["structures"])
        mine, fresh = page["mask"]["sha256"], page["masks"][0]["sha256"]
        saved = store.editor.save("scan-0", "Ada", fresh, nifti(*mask_of(store, "scan-0", fresh)))
        assert saved.sha256 == fresh and store.seen("scan-0", "Ada").mask == mine
    assert {path.name for path in (out / "review" / "masks" / "scan-0").glob("*.gz")} == {"Ada.nii.gz"}


class Other(Brightness):
    """A model that finds less."""

    def predict(self, volume: Any) -> Any:
        found = super().predict(volume)
        found.labels.array[: found.labels.shape[0] // 2] = 0
        return found


def mask_of(store: ReviewStore, case: str, base: str) -> Any:
    with store.editor.using(case, "Ada", base) as (_, working):
        return working.array.copy(), working.affine


def test_a_killed_save_is_put_right(out: Path, catalogue: Catalogue) -> None:
    masks = out / "review" / "masks" / "scan-0"
    with opened(out, catalogue) as store:
        saved = drawn(store, "scan-0", "Ada", 1)
    shutil.copy(out / "scan-0" / "mask.nii.gz", masks / ".next-Bea.nii.gz")  # killed before its line
    (masks / "Ada.nii.gz").rename(masks / ".next-Ada.nii.gz")  # killed behind its line
    with opened(out, catalogue) as store:
        assert store.seen("scan-0", "Ada").mask == saved.sha256 == sha256(masks / "Ada.nii.gz")
        assert [path.name for path in masks.glob("Bea.unsaved-*")] and "was killed" in store.told[0]
        assert store.editor.undo("scan-0", "Ada").voxels == 8


def test_a_change_that_was_not_saved_whole_is_taken_back_and_can_be_made_again(
    out: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(out, catalogue) as store:
        drawn(store, "scan-0", "Ada", 1)
        with monkeypatch.context() as patched:
            patched.setattr("voxgraft.review.state.editing.write", _full)
            with pytest.raises(DataError, match="no space"):
                drawn(store, "scan-0", "Ada", 2, 4)
        page = scan(store, "scan-0", "Ada")
        assert page["structures"][1]["changed"] == 0
        saved = store.editor.redo("scan-0", "Ada")
        assert saved.structures[1]["changed"] == 8


def _full(*_: object, **__: object) -> None:
    raise DataError("mask.nii.gz: cannot be written: no space is left on the disk")


STEPS = {
    "before the journal": "voxgraft.correction.journal.Journal.record",
    "behind the journal": "voxgraft.review.state.editing.write",
    "behind the mask": "voxgraft.review.state.audit.AuditLog.append",
    "behind the line": "voxgraft.review.state.editing.Editor._name",
    "behind the name": "voxgraft.review.state.editing.Editor._saved",
}
"""Where a process is killed while it saves: as it enters this function."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("what", ["save", "undo"])
def test_a_process_may_be_killed_at_every_step_of_a_save(
    out: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, step: str, what: str
) -> None:
    with opened(out, catalogue) as store:
        before = drawn(store, "scan-0", "Ada", 1).sha256
        accept(store, "scan-1", "ball")
        after = drawn(store, "scan-0", "Ada", 2, 4).sha256
        store.editor.undo("scan-0", "Ada")
        if what == "undo":
            store.editor.redo("scan-0", "Ada")
            before, after = after, before
    if (child := os.fork()) == 0:
        function = (
            STEPS[step] if (what, step) != ("undo", "before the journal") else STEPS[step].replace("record", "undo")
        )
        with opened(out, catalogue) as store:
            monkeypatch.setattr(function, lambda *_, **__: os._exit(9))
            store.editor.undo("scan-0", "Ada") if what == "undo" else drawn(store, "scan-0", "Ada", 2, 4)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with opened(out, catalogue) as store:
        mask = store.seen("scan-0", "Ada").mask
        assert mask == (after if step in ("behind the line", "behind the name") else before)
        assert mask == sha256(out / "review" / "masks" / "scan-0" / "Ada.nii.gz")
        assert not list((out / "review").rglob(".next-*")) and len(store.decisions("scan-1")) == 1
        if mask != after:
            saved = store.editor.undo("scan-0", "Ada") if what == "undo" else drawn(store, "scan-0", "Ada", 2, 4)
            assert saved.sha256 == after
        while store.seen("scan-0", "Ada").mine.position:
            store.editor.undo("scan-0", "Ada")
        assert not any(store.seen("scan-0", "Ada").mine.changed.values())
    assert read_log(out / "review" / "audit.jsonl").faults == []


def test_a_mask_that_was_changed_outside_is_told(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        drawn(store, "scan-0", "Ada", 1)
        store.editor.kept.close()
        shutil.copy(out / "scan-1" / "mask.nii.gz", out / "review" / "masks" / "scan-0" / "Ada.nii.gz")
        with pytest.raises(Conflict, match="changed outside"):
            store.editor.undo("scan-0", "Ada")


def test_names_of_readers(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        assert store.enter("  Dr.  Müller ") == "Dr. Müller"
        for name in ("", "model", "mine", "../x", "a/b", "x" * 41, "Dr.-Müller", "\x00", ".hidden"):
            with pytest.raises(Refused):
                store.enter(name)
        assert store.readers == ["Dr. Müller"]


def assigned(store: ReviewStore, folder: Path, *rows: str) -> int:
    table = folder / "readers.csv"
    table.write_text("\n".join(("case,reader,role,mask", *rows)) + "\n")
    return assign_all(store, table)


def test_blind_readers_do_not_see_each_other_until_both_are_done(out: Path, catalogue: Catalogue) -> None:
    rows = ("scan-0,Ada,reader,", "scan-0,Bea,second,", "scan-0,Cia,adjudicator,")
    with opened(out, catalogue) as store:
        assert assigned(store, out.parent, *rows) == 3 and assigned(store, out.parent, *rows) == 0
        ada, bea, cia, dan = (Browser.of(store, name) for name in ("Ada", "Bea", "Cia", "Dan"))
        drawn(store, "scan-0", "Ada", 2)
        ada.decide("scan-0", "")
        ada.post("/api/scans/scan-0/notes", {"text": "mine"})
        for other in (bea, dan):
            page = other.json("/api/scans/scan-0")
            assert page["blind"] and page["review_state"] == "open"
            assert (page["decisions"], page["notes"], [one["id"] for one in page["masks"]]) == ([], [], ["model"])
            assert other.get("/api/scans/scan-0/masks/Ada").status_code == 404
            row = next(one for one in other.json("/api/worklist")["scans"] if one["case"] == "scan-0")
            assert row["decided"] == [] and row["review_state"] == "open"
        assert bea.json("/api/session")["blind"] and row["assigned"] is None
        assert len(cia.json("/api/scans/scan-0")["decisions"]) == 1
        bea.decide("scan-0", "")
        page = bea.json("/api/scans/scan-0")
        assert not page["blind"] and len(page["decisions"]) == 2
        assert [one["id"] for one in page["masks"]] == ["model", "Ada"]


def test_an_adjudicator_decides_for_one_of_the_masks(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        assigned(store, out.parent, "scan-0,Ada,reader,", "scan-0,Bea,second,", "scan-0,Cia,adjudicator,")
        first = drawn(store, "scan-0", "Ada", 2).sha256
        second = drawn(store, "scan-0", "Bea", 1, 4).sha256
        for reader in ("Ada", "Bea"):
            accept(store, "scan-0", "", reader)
        cia = Browser.of(store, "Cia")
        assert cia.decide("scan-0", "core", mask=first).json()["decision"]["verdict"] == "corrected"
        assert cia.decide("scan-0", "ball", mask=second).json()["decision"]["role"] == "adjudicator"
        final, masks = cia.mask("scan-0", "mine")[0], [cia.mask("scan-0", one)[0] for one in ("Ada", "Bea")]
        assert np.array_equal(final == 2, masks[0] == 2) and np.array_equal(final == 1, masks[1] == 1)
        accept(store, "scan-0", "core", "Ada", verdict="reopened")
        assert {one.reader for one in store.seen("scan-0", "Dan").holds.values() if one.structure} == {"Cia"}


def test_a_reference_is_kept_and_nobody_is_told(out: Path, catalogue: Catalogue) -> None:
    shutil.copy(out / "scan-1" / "mask.nii.gz", out.parent / "truth.nii.gz")
    with opened(out, catalogue) as store:
        assert assigned(store, out.parent, "scan-1,,gold,truth.nii.gz") == 1
        assert store.state.references["scan-1"] == sha256(out / "review" / "gold" / "scan-1.nii.gz")
        ada = Browser.of(store, "Ada")
        assert "gold" not in ada.get("/api/scans/scan-1").text and "gold" not in ada.get("/api/worklist").text
        assert ada.json("/api/assignments") == {"assignments": []} and not ada.json("/api/scans/scan-1")["assigned"]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("scan-9,Ada,reader,", "line 3: there is no such scan"),
        ("scan-0,,reader,", "names no reader"),
        (",Ada,reader,", "names no case"),
        ("scan-0,Ada,king,", "no role 'king'"),
        ("scan-0,model,reader,", "a reader's name"),
        ("scan-0,,gold,", "needs a reference"),
        ("scan-0,,gold,none.nii.gz", "line 3"),
        ("scan-0,,gold,in/scan-0.nii.gz", "belongs to no structure"),
    ],
)
def test_a_table_that_makes_no_sense_is_said_with_its_line(
    made: Path, catalogue: Catalogue, row: str, text: str
) -> None:
    with opened(made, catalogue) as store:
        with pytest.raises(UsageError, match=text):
            assigned(store, made.parent, "scan-0,Ada,reader,", row)
        assert store.assignments() == []


def test_who_reads_blindly_assigns_nobody(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        ada, eve = Browser.of(store, "Ada"), Browser.of(store, "Eve")
        one = {"case": "scan-0", "reader": "Ada", "role": "reader"}
        assert eve.post("/api/assignments", one).status_code == 201
        assert ada.post("/api/assignments", {**one, "reader": "Bea"}).status_code == 403
        assert eve.post("/api/assignments", {**one, "reader": "Eve", "role": "adjudicator"}).status_code == 403
        assert eve.post("/api/assignments", {**one, "role": "gold"}).status_code == 400
        assert eve.post("/api/assignments", {**one, "withdrawn": True}).status_code == 201
        assert ada.json("/api/assignments") == {"assignments": []}


def test_what_a_review_keeps_is_no_scan(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        drawn(store, "scan-0", "Ada", 2)
        scan(store, "scan-0", "Ada")
    assert list((out / "review" / "cache").glob("*.nii"))
    finder = Finder(catalogue, model(out.parent / "model").plan, out.parent / "other")
    found = {entry.given.name for entry in finder.find([out.parent]) if entry.state == "waiting"}
    assert found == {"scan-0.nii.gz", "scan-1.nii.gz", "scan-2.nii.gz", "odd.nii.gz"}


def test_a_scan_called_review_is_named_otherwise(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "in" / "review.nii.gz")
    batch = segment(model(tmp_path / "model"), [scan], tmp_path / "out", catalogue, predictor=Brightness())
    assert batch.scans[0].case != "review"
    with opened(tmp_path / "out", catalogue) as store:
        assert store.seen(batch.scans[0].case, "").model_mask
