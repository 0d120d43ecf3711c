"""The server of a review: what the page is told, what it may send, and what hostile requests get."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import nibabel as nib
import numpy as np
import pytest
from batch_scans import ball, write_scan
from click.testing import CliRunner
from review_batches import HOST, Browser, copy_of, nifti, opened
from starlette.testclient import TestClient

from voxgraft.batch.ledger import Ledger
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.web.app import make_app
from voxgraft.review.web.security import COOKIE, CSRF, Access
from voxgraft.support.files import sha256


def test_the_page_gets_what_it_shows(looked_at: ReviewStore, made: Path) -> None:
    browser = Browser.of(looked_at)
    listed = browser.json("/api/worklist")
    assert [scan["case"] for scan in listed["scans"]] == ["odd", "scan-0", "scan-1", "scan-2"]
    assert listed["counts"]["failed"] == 1 and listed["counts"]["open"] == 4 and not listed["running"]
    page = browser.json("/api/scans/scan-1")
    assert (page["previous"], page["next"]) == ("scan-0", "scan-2")
    assert page["shape"] == [26, 24, 14] and page["spacing_mm"] == [1.0, 1.0, 1.5]
    assert [one["name"] for one in page["structures"]] == ["ball", "core"]
    assert page["modality"] == "mr" and page["channels"] == ["image"] and page["windows"][0]["name"] == "usual"
    image = browser.get("/api/scans/scan-1/image")
    read: Any = nib.Nifti1Image.from_bytes(image.content)
    scan: Any = nib.load(made.parent / "in" / "scan-1.nii.gz")
    assert np.array_equal(read.dataobj, scan.dataobj) and np.allclose(read.affine, scan.affine)
    again = browser.get("/api/scans/scan-1/image", headers={"If-None-Match": image.headers["etag"]})
    assert again.status_code == 304
    mask, _ = browser.mask("scan-1", "model")
    assert page["mask"] == {"id": "model", "sha256": sha256(made / "scan-1" / "mask.nii.gz")} and mask.max() == 2
    assert browser.get("/api/scans/scan-1/preview").headers["content-type"] == "image/png"
    assert browser.get("/healthz").json() == {"ok": True}


@pytest.mark.parametrize(
    ("query", "cases"),
    [
        ("q=scan-2", ["scan-2"]),
        ("q=strange+odd", ["odd"]),
        ("state=failed", ["odd"]),
        ("state=done&sort=-case", ["scan-2", "scan-1", "scan-0"]),
        ("structure=ball&sort=-ml&limit=1", ["scan-2"]),
        ("flag=none", []),
        ("offset=3", ["scan-2"]),
    ],
)
def test_the_list_is_searched_sorted_and_cut(looked_at: ReviewStore, query: str, cases: list[str]) -> None:
    assert [scan["case"] for scan in Browser.of(looked_at).json(f"/api/worklist?{query}")["scans"]] == cases


def test_a_reader_corrects_and_finds_it_again(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        page = browser.json("/api/scans/scan-0")
        array, affine = browser.mask("scan-0", "model")
        array = array.copy()
        array[0:3, 0, 0] = 2
        answer = browser.put("scan-0", nifti(array, affine, packed=False), page["mask"]["sha256"], tool="pen,eraser")
        assert answer.status_code == 200 and answer.json()["changed"] == 3
        page = browser.json("/api/scans/scan-0")
        assert page["mask"] == {"id": "mine", "sha256": answer.json()["sha256"]} and page["can_undo"]
        assert np.array_equal(browser.mask("scan-0", "mine")[0], array)
        assert browser.decide("scan-0", "core").json()["decision"]["verdict"] == "corrected"
        array[0:3, 0, 0] = 1
        refused = browser.put("scan-0", nifti(array, affine), page["mask"]["sha256"])
        assert refused.status_code == 409 and refused.json()["locked"] == {"core": 3}
        array[0:3, 0, 0], array[5, 0, 0] = 2, 1
        refused = browser.put("scan-0", nifti(array, affine), page["mask"]["sha256"], locked="1")
        assert refused.status_code == 409 and refused.json()["locked"] == {"ball": 1}
        assert browser.decide("scan-0", "core", "reopened").status_code == 201
        undone = browser.post("/api/scans/scan-0/undo", {"mask": page["mask"]["sha256"]}).json()
        assert undone["can_redo"] and undone["structures"][1]["changed"] == 0
        redone = browser.post("/api/scans/scan-0/redo", {"mask": undone["sha256"]}).json()
        assert redone["sha256"] == page["mask"]["sha256"]
        other = Browser.of(store, "Bea").json("/api/scans/scan-0")
        assert other["mask"]["id"] == "model" and [mask["id"] for mask in other["masks"]] == ["model", "Ada"]


def test_redrawn_slices_become_the_volume(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        array, affine = browser.mask("scan-0", "model")
        drawn = array.copy()
        for index in (5, 8):
            drawn[8:20, 6:18, index][drawn[8:20, 6:18, index] == 0] = 1
        saved = browser.put("scan-0", nifti(drawn, affine), browser.json("/api/scans/scan-0")["mask"]["sha256"])
        wanted = {"label": 1, "axis": 2, "reach_mm": 3, "slices": [5, 8], "commit": False}
        shown = browser.post("/api/scans/scan-0/propagate", wanted).json()
        assert shown["changed"] > 20 and shown["sha256"] == saved.json()["sha256"]
        assert browser.json("/api/scans/scan-0")["mask"]["sha256"] == saved.json()["sha256"]
        done = browser.post("/api/scans/scan-0/propagate", {**wanted, "commit": True, "mask": shown["sha256"]}).json()
        after, _ = browser.mask("scan-0", "mine")
        assert np.array_equal(after[..., [5, 8]], drawn[..., [5, 8]])
        assert int((after != drawn).sum()) == done["changed"] == shown["changed"]
        (i, _), (j, _), (k, _) = shown["box"]
        bits = np.unpackbits(np.frombuffer(base64.b64decode(shown["mask"]), np.uint8))
        where = bits[: np.prod([b - a for a, b in shown["box"]])].reshape([b - a for a, b in shown["box"]])
        added = np.argwhere((after == 1) & (drawn != 1)) - (i, j, k)
        assert where.sum() == len(added) and where[tuple(added.T)].all()
        browser.decide("scan-0", "ball")
        assert browser.post("/api/scans/scan-0/propagate", wanted).status_code == 400


def test_clicks_are_shown_first_and_saved_when_they_are_committed(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        array, affine = browser.mask("scan-0", "model")
        cut = array.copy()
        cut[cut.shape[0] // 2 :][cut[cut.shape[0] // 2 :] == 1] = 0
        browser.put("scan-0", nifti(cut, affine), browser.json("/api/scans/scan-0")["mask"]["sha256"])
        point = [int(n) for n in np.argwhere((array == 1) & (cut == 0))[0]]
        wanted = {"label": 1, "points": [{"index": point, "add": True}], "radius_mm": 8, "commit": False}
        shown = browser.post("/api/scans/scan-0/click", wanted).json()
        assert shown["changed"] > 3 and np.array_equal(browser.mask("scan-0", "mine")[0], cut)
        done = browser.post("/api/scans/scan-0/click", {**wanted, "commit": True, "mask": shown["sha256"]}).json()
        after, _ = browser.mask("scan-0", "mine")
        assert int((after != cut).sum()) == done["changed"] == shown["changed"] and after[tuple(point)] == 1
        for bad in (
            {"points": []},
            {"points": [{"index": [1, 2], "add": True}]},
            {"points": [{"index": [99, 0, 0], "add": True}]},
            {"points": [{"index": [1, 2, 3.5], "add": True}]},
            {"points": [{"index": point, "add": 1}]},
            {"points": [{"index": point, "add": True}, {"index": point, "add": False}]},
            {"radius_mm": -1},
            {"label": "1"},
            {"locked": [1]},
            {"locked": 3},
        ):
            answer = browser.post("/api/scans/scan-0/click", {**wanted, **bad})
            assert answer.status_code == 400 and answer.json()["error"], bad
        assert browser.post("/api/scans/scan-0/click", {**wanted, "label": 9}).status_code == 404


def test_notes_are_pinned_and_only_their_writer_removes_them(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        ada, bea = Browser.of(store, "Ada"), Browser.of(store, "Bea")
        note = ada.post("/api/scans/scan-0/notes", {"text": "cyst?", "place_mm": [1, -2.5, 3]}).json()
        assert bea.json("/api/scans/scan-0")["notes"] == [note] and note["place_mm"] == [1, -2.5, 3]
        assert bea.delete(f"/api/scans/scan-0/notes/{note['id']}").status_code == 403
        assert ada.delete(f"/api/scans/scan-0/notes/{note['id']}").status_code == 200
        for bad in ({}, {"text": " "}, {"text": "x", "place_mm": [1, 2]}, {"text": 3}):
            assert ada.post("/api/scans/scan-0/notes", bad).status_code == 400


def test_ten_saves_at_once_one_wins_and_the_others_keep_their_mask(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browsers = [Browser.of(store, "Ada") for _ in range(6)]
        array, affine = browsers[0].mask("scan-0", "model")
        base = browsers[0].json("/api/scans/scan-0")["mask"]["sha256"]
        answers: list[Any] = [None] * len(browsers)

        def save(number: int) -> None:
            mine = array.copy()
            mine[number, 0, 0] = 1
            answers[number] = browsers[number].put("scan-0", nifti(mine, affine), base)

        threads = [threading.Thread(target=save, args=(number,)) for number in range(len(browsers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200, *[409] * (len(browsers) - 1)]
        won = next(answer.json()["sha256"] for answer in answers if answer.status_code == 200)
        assert {answer.json()["current"] for answer in answers if answer.status_code == 409} == {won}
        assert sha256(out / "review" / "masks" / "scan-0" / "Ada.nii.gz") == won


def test_a_scan_that_is_gone_or_another_one_is_told_in_a_sentence(out: Path, catalogue: Catalogue) -> None:
    shutil.rmtree(out / "review" / "cache", ignore_errors=True)  # there is one once a scan was shown
    (out.parent / "in" / "scan-0.nii.gz").unlink()
    write_scan(out.parent / "in" / "scan-1.nii.gz", ball(radius=3))
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        for case, text in (("scan-0", "no longer where"), ("scan-1", "has changed")):
            page = browser.json(f"/api/scans/{case}")
            assert text in page["image_error"] and page["preview"] and page["mask"]["sha256"]
            assert browser.get(f"/api/scans/{case}/image").status_code == 404
            assert browser.decide(case, "ball").status_code == 201


def test_the_server_starts_says_where_and_ends_on_ctrl_c(out: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "voxgraft", "review", str(out), "--port", "0", "--json", "--reader", "Ada"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        with urlopen(f"{url}api/session", timeout=20) as answer:
            session = json.load(answer)
        assert session["reader"] == "Ada" and session["fixed"]
        port = url.rstrip("/").rpartition(":")[2]
        second = CliRunner().invoke(main, ["review", str(out), "--port", port])
        assert second.exit_code == 1 and "another `voxgraft review`" in second.output
        other = copy_of(out, tmp_path / "other")
        third = CliRunner().invoke(main, ["review", str(other), "--port", port])
        assert third.exit_code == 1 and "cannot listen there" in third.output
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert "Traceback" not in server.communicate()[1]
    finally:
        server.kill()
        server.wait()


def test_two_thousand_rows_are_quick(tmp_path: Path, out: Path, catalogue: Catalogue) -> None:
    with Ledger(out) as ledger:
        row = ledger.get("scan-0")
        ledger._connection.execute("BEGIN")
        for number in range(2000):
            ledger.put(replace(row, case=f"more-{number:04}"))
        ledger._connection.execute("COMMIT")
    with opened(out, catalogue) as store:
        browser = Browser.of(store)
        assert browser.json("/api/worklist?limit=50")["total"] == 2004
        start = time.process_time()
        browser.json("/api/worklist?limit=50&q=more&sort=-case")
        assert time.process_time() - start < 0.4  # a tenth of a second here; the machine may be slow


def test_a_server_that_is_started_for_a_reader_knows_no_other(looked_at: ReviewStore) -> None:
    secret = b"s" * 32
    before = Access(frozenset({HOST}), secret=secret)
    cookie = before.cookie(before.new("Bea"))
    assert before.session(cookie) is not None and before.session(cookie + "x") is None
    client = TestClient(make_app(looked_at, Access(frozenset({HOST}), secret=secret, reader="Ada")))
    client.cookies.set(COOKIE, cookie)
    session = client.get("/api/session").json()
    assert session["reader"] == "Ada" and session["fixed"]
    answer = client.post("/api/session", json={"reader": "Bea"}, headers={CSRF: session["csrf"]})
    assert answer.status_code == 400 and "started for the reader" in answer.json()["error"]
