"""Tests of corrections in a review: they survive restarts, kills and full disks, and finished structures stay."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import Brightness, model
from review_batches import Browser, accept, drawn, nifti, opened

from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import DataError
from voxgraft.review.state.audit import read_log
from voxgraft.review.state.errors import Conflict, Refused
from voxgraft.review.state.page import scan
from voxgraft.review.state.store import ReviewStore
from voxgraft.support.files import sha256


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


def test_a_mask_file_that_is_gone_is_told_and_not_accepted(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        drawn(store, "scan-0", "Ada", 1)
        path = out / "review" / "masks" / "scan-0" / "Ada.nii.gz"
        kept = path.read_bytes()
        path.unlink()
        browser = Browser.of(store, "Ada")
        assert "Ada.nii.gz is no longer in the review's folder" in browser.json("/api/scans/scan-0")["mask_error"]
        assert Browser.of(store, "Bea").json("/api/scans/scan-0")["mask_error"] is None
        for answer in (browser.get("/api/scans/scan-0/masks/mine"), browser.decide("scan-0", "ball")):
            assert answer.status_code == 404 and "restore it from a copy" in answer.json()["error"]
        assert browser.decide("scan-0", "ball", "rejected", reason=store.reasons[0]).status_code == 201
        path.write_bytes(kept)
        assert browser.get("/api/scans/scan-0/masks/mine").status_code == 200
        assert browser.decide("scan-0", "core").status_code == 201
        (out / "scan-0" / "mask.nii.gz").unlink()
        assert browser.get("/api/scans/scan-0/masks/model").status_code == 404
        (out / "scan-1" / "mask.nii.gz").unlink()
        assert browser.json("/api/scans/scan-1")["mask_error"]
