"""Tests of what the review's server refuses: hostile masks, paths, JSON, hosts, tokens."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from review_batches import HOST, Browser, copy_of, masks, nifti, opened
from starlette.testclient import TestClient

from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.web.app import make_app
from voxgraft.review.web.security import COOKIE, CSRF, Access
from voxgraft.web.access import hosts_of, read_tokens
from voxgraft.web.listen import Listening

TOKEN = "a-token-of-some-length"


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
        (["--certificate", "TOKEN"], "belong together"),
        (["--certificate", "none.pem", "--key", "none.key"], "no such file"),
        (["--token-file", "none"], "no such file"),
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
