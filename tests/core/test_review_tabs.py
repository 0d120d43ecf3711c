"""Two tabs, two readers: no change is lost, none is kept under another's name, and blind readers learn nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from review_batches import HOST, Browser, copy_of, nifti, opened

from voxgraft.components.catalogue import Catalogue
from voxgraft.review.state.assigning import assign_all
from voxgraft.review.state.audit import TOLD, AuditLog
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.web.security import COOKIE, CSRF

STRUCTURES = ("ball", "core")


@pytest.fixture
def store(made: Path, tmp_path: Path, catalogue: Catalogue) -> Iterator[ReviewStore]:
    with opened(copy_of(made, tmp_path / "batch"), catalogue) as store:
        yield store


def drawn(browser: Browser, value: int, corner: int) -> str:
    """Draw into a corner of the scan; gives the mask's hash then."""
    page = browser.json("/api/scans/scan-0")
    array, affine = browser.mask("scan-0", page["mask"]["id"])
    array = array.copy()
    array[corner : corner + 2, 0, 0] = value
    answer = browser.put("scan-0", nifti(array, affine), page["mask"]["sha256"])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["sha256"])


CORRECTIONS: dict[str, dict[str, Any]] = {
    "click": {"label": 1, "points": [{"index": [1, 12, 12], "add": True}], "radius_mm": 8, "commit": True},
    "propagate": {"label": 2, "axis": 0, "reach_mm": 5, "slices": [0], "commit": True},
    "undo": {},
    "redo": {},
}


@pytest.mark.parametrize("what", list(CORRECTIONS))
def test_a_tab_that_has_not_seen_what_another_saved_corrects_nothing(what: str, store: ReviewStore) -> None:
    browser = Browser.of(store, "Ada")
    old = drawn(browser, 2, 0)
    new = drawn(browser, 2, 5)
    if what == "redo":
        new = browser.post("/api/scans/scan-0/undo", {"mask": new}).json()["sha256"]
    path = f"/api/scans/scan-0/{what}"
    refused = browser.post(path, {**CORRECTIONS[what], "mask": old if what != "redo" else "0" * 64})
    assert refused.status_code == 409 and refused.json()["current"] == new
    assert browser.json("/api/scans/scan-0")["mask"]["sha256"] == new
    for nothing in ({}, {"mask": ""}, {"mask": "x" * 64}, {"mask": 5}):
        assert browser.post(path, {**CORRECTIONS[what], **nothing}).status_code == 400
    done = browser.post(path, {**CORRECTIONS[what], "mask": new})
    assert done.status_code == 200 and done.json()["changed"] > 0, done.text


@pytest.mark.parametrize("radius", [0, 60.1, 1000])
def test_a_click_has_a_radius_of_a_click(radius: float, store: ReviewStore) -> None:
    browser = Browser.of(store, "Ada")
    answer = browser.post("/api/scans/scan-0/click", {**CORRECTIONS["click"], "commit": False, "radius_mm": radius})
    assert answer.status_code == 400 and "60 mm" in answer.json()["error"]


def test_what_one_tab_left_open_is_not_kept_under_the_reader_that_another_chose(store: ReviewStore) -> None:
    first = Browser.of(store, "Ada")
    csrf = first.csrf
    second = Browser(first.client, csrf)
    answer = second.post("/api/session", {"reader": "Bea"})
    second.csrf = answer.json()["csrf"]
    assert first.decide("scan-0", "ball").status_code == 403
    assert first.post("/api/scans/scan-0/notes", {"text": "mine"}).status_code == 403
    assert store.decisions() == []
    assert second.decide("scan-0", "ball").json()["decision"]["reader"] == "Bea"
    again = second.post("/api/session", {"reader": "Ada"})
    assert again.json()["csrf"] == csrf, "the first tab goes on once its reader is back"
    assert first.decide("scan-0", "core").json()["decision"]["reader"] == "Ada"


@pytest.fixture
def blind(store: ReviewStore, tmp_path: Path) -> ReviewStore:
    """Ada and Bea read one scan blindly, and Ada is done; another scan has a reference."""
    table = tmp_path / "table.csv"
    mask = store.out / "scan-1" / "mask.nii.gz"
    table.write_text(f"case,reader,role,mask\nscan-0,Ada,reader,\nscan-0,Bea,second,\nscan-1,,gold,{mask}\n")
    assign_all(store, table)
    ada = Browser.of(store, "Ada")
    drawn(ada, 2, 0)
    for name in STRUCTURES:
        assert ada.decide("scan-0", name).status_code == 201
    return store


@pytest.mark.parametrize("reader", ["Bea", "Cid", ""])
def test_figures_tell_a_blind_reader_nothing(reader: str, blind: ReviewStore) -> None:
    browser = Browser.of(blind, reader)
    told = browser.json("/api/summary?points=1")
    assert told["scans"]["reviewed"] == 0 and told["decisions"]["total"] == 0
    assert told["charts"] == [] and told["readers"] == {}
    page = browser.get("/charts").text
    assert "Ada" not in page and "scan-0" not in page
    bea = Browser.of(blind, "Bea")
    for name in STRUCTURES:
        assert bea.decide("scan-0", name).status_code == 201
    told = browser.json("/api/summary?points=1")
    assert told["scans"]["reviewed"] == 1 and {"Ada", "Bea"} == set(told["readers"])
    assert browser.json("/api/agreement")["structures"]["ball"]["n"] == 1


def test_no_figure_tells_which_scan_has_a_reference(blind: ReviewStore) -> None:
    browser = Browser.of(blind, "Cid")
    for name in STRUCTURES:
        assert browser.decide("scan-1", name).status_code == 201
    assert browser.json("/api/summary")["gold"] == {}
    assert "gold" not in browser.get("/charts").text


@pytest.mark.parametrize(("reader", "role"), [("Ada", "reader"), ("Bea", "second")])
def test_nobody_ends_a_blind_reading_by_taking_its_readers_away(reader: str, role: str, blind: ReviewStore) -> None:
    wish = {"case": "scan-0", "reader": reader, "role": role, "withdrawn": True}
    cid = Browser.of(blind, "Cid")
    assert cid.post("/api/assignments", wish).status_code == 403
    assert Browser.of(blind, "Bea").json("/api/scans/scan-0")["blind"]
    for name in STRUCTURES:
        Browser.of(blind, "Bea").decide("scan-0", name)
    assert cid.post("/api/assignments", wish).status_code == 201


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"kind":1}', b"\xff\xfe", b"", b'{"kind":"decision","x":1' + b"0" * 5000 + b"}"]
)
def test_a_line_that_is_none_is_told_and_the_log_goes_on(line: bytes, tmp_path: Path) -> None:
    with_line = AuditLog(tmp_path)
    with_line.append("reader", {"reader": "Ada"}, lambda entry: None)
    with_line.close()
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(line + b"\n")
    log = AuditLog(tmp_path)
    log.append("reader", {"reader": "Bea"}, lambda entry: None)
    log.close()
    read = AuditLog(tmp_path, writable=False)
    assert [fault.line for fault in read.faults] == [2] and len(read.entries) == 2 and len(read.told) == 1


def test_a_log_with_other_line_ends_is_told_in_a_few_sentences(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for number in range(20):
        log.append("reader", {"reader": f"R{number}"}, lambda entry: None)
    log.close()
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    read = AuditLog(tmp_path, writable=False)
    assert len(read.faults) == 19 and len(read.told) == TOLD + 1 and "16 more lines" in read.told[-1]


@pytest.mark.parametrize(("method", "path"), [("PUT", "mask"), ("POST", "decisions"), ("POST", "click")])
def test_a_browser_that_is_closed_while_it_sends_is_no_error(method: str, path: str, store: ReviewStore) -> None:
    browser = Browser.of(store, "Ada")
    cookie = f"{COOKIE}={browser.client.cookies[COOKIE]}"
    headers = {"Host": HOST, "Cookie": cookie, CSRF: browser.csrf, "If-Match": f'"{"0" * 64}"'}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": f"/api/scans/scan-0/{path}",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": (HOST, 80),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    answers: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        answers.append(message)

    lines = store.log.lines
    anyio.run(browser.client.app, scope, receive, send)
    assert answers[0]["status"] == 400 and store.log.lines == lines
