"""The server of a review: what the page is told, what it may send, and what hostile requests get."""

from __future__ import annotations

import base64
import gzip
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
from voxgraft.errors import UsageError
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.web.app import make_app
from voxgraft.review.web.security import COOKIE, CSRF, Access
from voxgraft.support.files import sha256
from voxgraft.web.access import hosts_of, read_tokens
from voxgraft.web.listen import Listening

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def looked_at(made: Path, catalogue: Catalogue) -> Any:
    """A review in which nothing is decided."""
    with opened(made, catalogue) as store:
        yield store


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return copy_of(made, tmp_path / "batch")


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


def masks(out: Path) -> tuple[Any, Any]:
    mask: Any = nib.load(out / "scan-0" / "mask.nii.gz")
    return np.asarray(mask.dataobj).copy(), mask.affine


def hostile(array: Any, affine: Any) -> dict[str, bytes]:
    """Bodies that are not a mask of this scan."""
    moved, strange = affine.copy(), array.copy()
    moved[0, 3] += 1
    strange[0, 0, 0] = 7
    whole = nib.Nifti1Image(array, affine).to_bytes()
    scaled: Any = nib.Nifti1Image(array, affine)
    scaled.header["scl_slope"] = 2
    floating = array.astype(np.float32)
    floating[0, 0, 0] = np.nan
    header = bytearray(whole)
    header[80:92] = np.array([np.nan] * 3, np.float32).tobytes()
    header[280:328] = np.full(12, np.nan, np.float32).tobytes()
    huge = bytearray(whole)
    huge[40:56] = np.array([3, 32767, 32767, 32767, 1, 1, 1, 1], np.int16).tobytes()
    negative = bytearray(whole)
    negative[40:56] = np.array([3, -1, 24, 14, 1, 1, 1, 1], np.int16).tobytes()
    return {
        "nothing": b"",
        "text": b"hello" * 100,
        "cut": whole[:-5],
        "cut gzip": gzip.compress(whole)[:-20],
        "two streams of bytes": gzip.compress(whole)[:40] + b"\0" * 100,
        "bomb": gzip.compress(b"\0" * 50_000_000, 9),
        "large": b"\0" * 200_000,
        "shape": nifti(array[:-1], affine),
        "axes": nifti(np.stack([array, array], -1), affine),
        "moved": nifti(array, moved),
        "unknown label": nifti(strange, affine),
        "negative": nifti((-array.astype(np.int16)).astype(np.int16), affine),
        "wide": nifti(array.astype(np.int16) * 256, affine),
        "float": nifti(array.astype(np.float32), affine),
        "nan": nifti(floating, affine),
        "complex": nifti(array.astype(np.complex64), affine),
        "scaled": scaled.header.binaryblock + whole[348:],
        "nan affine": bytes(header),
        "huge": bytes(huge),
        "negative axis": bytes(negative),
    }


def test_hostile_masks_are_refused_in_a_sentence_and_nothing_is_kept(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        base = browser.json("/api/scans/scan-0")["mask"]["sha256"]
        for name, data in hostile(*masks(out)).items():
            answer = browser.put("scan-0", data, base)
            assert answer.status_code in (400, 413), f"{name}: {answer.status_code} {answer.text}"
            assert len(answer.json()["error"]) > 20 and str(out) not in answer.text, name
        for match in ("", "none", '"*"', base):
            headers = {CSRF: browser.csrf, "If-Match": match}
            answer = browser.client.put("/api/scans/scan-0/mask", content=b"x", headers=headers)
            assert answer.status_code == 400 and "If-Match" in answer.json()["error"]
        for locked in ("x", "1,,2", "-1", "9" * 9):
            assert browser.put("scan-0", b"x", base, locked=locked).status_code == 400
        assert not (out / "review" / "masks" / "scan-0" / "Ada.nii.gz").exists()
        assert not list((out / "review").rglob(".next-*"))


@pytest.mark.parametrize(
    "path",
    [
        "/api/scans/../ledger.sqlite",
        "/api/scans/%2e%2e/image",
        "/api/scans/..%2fin/image",
        "/scan/..%2f..%2fetc",
        "/api/scans/scan-0%00/image",
        "/api/scans/scan-0/masks/..%2f..%2fscan-1%2fmask",
        "/api/scans/scan-0/masks/Nobody",
        "/api/scans/scan-0/image?channel=7",
        "/static/../store.py",
        "/static/%2e%2e/store.py",
        "/static/",
        "/static",
        "/review/audit.jsonl",
    ],
)
def test_no_path_leads_elsewhere(looked_at: ReviewStore, path: str) -> None:
    answer = Browser.of(looked_at).get(path)
    assert answer.status_code in (400, 404) and answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"reader": 3}',
        b'{"reader": NaN}',
        b"\xff\xfe",
        b'{"reader": "' + b"x" * 2_000_000 + b'"}',
        b"[" * 100_000,
        b'{"reader": "\\ud800"}',
    ],
)
def test_strange_json_is_refused(looked_at: ReviewStore, body: bytes) -> None:
    browser = Browser.of(looked_at)
    for path in ("/api/session", "/api/scans/scan-0/decisions", "/api/scans/scan-0/notes"):
        answer = browser.client.post(path, content=body, headers={CSRF: browser.csrf})
        assert answer.status_code in (400, 403, 413) and answer.json()["error"]


def test_wrong_methods_and_numbers(looked_at: ReviewStore) -> None:
    browser = Browser.of(looked_at, "")
    assert browser.post("/api/worklist").status_code == 405
    assert browser.client.request("PUT", "/api/session", headers={CSRF: browser.csrf}).status_code == 405
    for query in ("limit=-1", "limit=x", "offset=1e9", "sort=color"):
        assert browser.get(f"/api/worklist?{query}").status_code == 400
    wanted = {"structure": "ball", "verdict": "accepted", "mask": "x"}
    for bad in ({"seconds": "1"}, {"seconds": 1e300}, {"verdict": None}, {"mask": 1}):
        assert browser.post("/api/scans/scan-0/decisions", {**wanted, **bad}).status_code == 400
    assert browser.post("/api/scans/scan-0/decisions", wanted).status_code == 403  # nobody says who


def test_every_answer_carries_the_headers(looked_at: ReviewStore) -> None:
    browser = Browser.of(looked_at)
    for path in ("/healthz", "/api/session", "/api/scans/none", "/static/none", "/api/scans/scan-0/masks/model"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] in ("no-store", "private, no-cache"), path
        assert "http:" not in headers["content-security-policy"]


def test_a_page_of_another_place_can_do_nothing(looked_at: ReviewStore) -> None:
    browser = Browser.of(looked_at)
    client, body = browser.client, {"reader": "Eve"}
    assert client.post("/api/session", json=body).status_code == 403
    assert client.post("/api/session", json=body, headers={CSRF: "x" * 64}).status_code == 403
    for origin in (
        "http://evil.example",
        "null",
        f"http://{HOST}.evil.example",
        f"file://{HOST}",
        "http://[",
        "http://[::1",
    ):
        evil = {CSRF: browser.csrf, "Origin": origin}
        assert client.post("/api/session", json=body, headers=evil).status_code == 403
    assert client.get("/api/worklist", headers={"Host": "evil.example"}).status_code == 421
    for host in ("testserver.evil.example", "testserver@evil.example", "", "[::1"):
        assert client.get("/api/worklist", headers={"Host": host}).status_code in (400, 421)
    cookie = client.get("/api/session")  # known: no second cookie
    assert "set-cookie" not in cookie.headers
    fresh = Browser.of(looked_at).client
    fresh.cookies.clear()
    said = fresh.get("/api/session").headers["set-cookie"]
    assert "HttpOnly" in said and "SameSite=Strict" in said
    fresh.cookies.clear()
    fresh.cookies.set(COOKIE, said.split("=", 1)[1].split(";")[0].replace(".", "x."))
    assert "set-cookie" in fresh.get("/api/session").headers


def test_a_token_is_asked_for_and_may_be_a_readers_own(looked_at: ReviewStore) -> None:
    access = Access(frozenset({HOST}), {TOKEN: "", "another-token-for-ada": "Ada"}, secure=True)
    client = TestClient(make_app(looked_at, access), base_url=f"https://{HOST}", raise_server_exceptions=False)
    assert client.get("/api/worklist").status_code == 401
    assert "<form" in client.get("/").text and client.get("/").status_code == 401
    assert client.get("/healthz").status_code == 200
    for wrong in ("", "x", TOKEN[:-1]):
        assert client.get("/api/worklist", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        assert client.post("/login", data={"token": wrong}).status_code == 401
    bearer = {"Authorization": "Bearer another-token-for-ada"}
    assert client.get("/api/session", headers=bearer).json()["reader"] == "Ada"
    entered = client.post("/login", data={"token": TOKEN}, follow_redirects=False)
    assert entered.status_code == 303 and "Secure" in entered.headers["set-cookie"]
    session = client.get("/api/session").json()
    headers = {CSRF: session["csrf"]}
    assert client.post("/api/session", json={"reader": "Ada"}, headers=headers).status_code == 400
    assert client.get("/api/worklist").headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("short", "at least 16"),
        ("", "no token"),
        ("# only a remark", "no token"),
        (":a-token-of-some-length", "before the colon"),
        (f"{TOKEN}\n{TOKEN}", "twice"),
        ("a token with spaces in it", "at least 16"),
    ],
)
def test_a_token_file_that_is_no_good_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=sentence):
        read_tokens(path, reachable=True)
    path.write_text(f"# who\n{TOKEN}\nAda:another-token-for-ada\n")
    assert read_tokens(path, reachable=True) == {TOKEN: "", "another-token-for-ada": "Ada"}
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_tokens(path, reachable=True)


def test_where_only_this_machine_asks_any_token_will_do(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("secret\n")
    path.chmod(0o644)
    listening = Listening(token_file=path)
    listening.check()
    assert listening.tokens == {"secret": ""}
    for text in ("", "two words", "Ada:"):
        path.write_text(text)
        with pytest.raises(UsageError):
            assert listening.tokens


def test_hosts() -> None:
    assert {"localhost", "127.0.0.1"} <= hosts_of("127.0.0.1", None)
    assert "localhost" not in hosts_of("10.0.0.5", None)
    assert {"localhost", "127.0.0.1"} <= hosts_of("0.0.0.0", None)
    assert "review.hospital.example" in hosts_of("127.0.0.1", "https://review.hospital.example/")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "--token-file"),
        (["--host", "0.0.0.0", "--token-file", "TOKEN"], "--certificate"),
        (["--behind-proxy", "review.example"], "--token-file"),
        (["--certificate", "none.pem"], "belong together"),
        (["--certificate", "none.pem", "--key", "none.key"], "no such file"),
        (["--token-file", "none"], "cannot be read"),
        (["--reader", "../x"], "--reader ../x: a reader's name has"),
        (["--reader", "Model"], "--reader Model: a reader's name has"),
    ],
)
def test_what_would_be_open_to_others_is_refused(made: Path, tmp_path: Path, options: list[str], sentence: str) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    words = [str(token) if word == "TOKEN" else word for word in options]
    out = copy_of(made, tmp_path / "batch")
    answer = CliRunner().invoke(main, ["review", str(out), "--port", "0", *words])
    assert answer.exit_code == 2 and sentence in answer.output


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
