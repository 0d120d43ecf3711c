"""Tests of several readers of one batch: blind reading, adjudication, assignments."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from batch_scans import Brightness, model, write_scan
from review_batches import Browser, accept, drawn, opened

from voxgraft.batch.segment import segment
from voxgraft.batch.worklist import Finder
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError
from voxgraft.review.state.assigning import assign_all
from voxgraft.review.state.errors import Refused
from voxgraft.review.state.page import scan
from voxgraft.review.state.store import ReviewStore
from voxgraft.support.files import sha256


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
        assert eve.post("/api/assignments", {**one, "withdrawn": "yes"}).status_code == 400
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
