"""Filling and smoothing on the review's server: shown first, saved with undo and audit, hostile requests refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_batches import Browser, nifti, opened

from voxgraft.components.catalogue import Catalogue
from voxgraft.review.state.audit import read_log
from voxgraft.review.web.security import CSRF
from voxgraft.support.files import sha256


def pierced(browser: Browser) -> Any:
    """Save a mask of Ada's in which the ball has a hole and the core is gone; gives its labels."""
    array, affine = browser.mask("scan-0", "model")
    mask = np.where(array == 2, 1, array).astype(array.dtype)
    i, j, k = (int(n) for n in np.argwhere(array == 2).mean(0))
    mask[i - 1 : i + 1, j - 1 : j + 1, k] = 0
    mask[i, j, k + 1] = 2
    saved = browser.put("scan-0", nifti(mask, affine), browser.json("/api/scans/scan-0")["mask"]["sha256"])
    assert saved.status_code == 200
    return mask


WANTED: dict[str, dict[str, Any]] = {
    "fill": {"label": 1},
    "smooth": {"label": 1, "radius_mm": 2, "kind": "gaussian"},
}


@pytest.mark.parametrize("tool", WANTED)
def test_it_is_shown_first_saved_when_committed_undone_and_in_the_log(
    out: Path, catalogue: Catalogue, tool: str
) -> None:
    path = f"/api/scans/scan-0/{tool}"
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        before = pierced(browser)
        shown = browser.post(path, WANTED[tool]).json()
        assert shown["changed"] >= 4 and np.array_equal(browser.mask("scan-0", "mine")[0], before)
        assert browser.post(path, {**WANTED[tool], "commit": True}).status_code == 400, "which mask was seen?"
        seen = {**WANTED[tool], "commit": True, "mask": shown["sha256"]}
        done = browser.post(path, seen).json()
        after, _ = browser.mask("scan-0", "mine")
        assert int((after != before).sum()) == done["changed"] == shown["changed"]
        assert np.array_equal(after == 2, before == 2), "the other structure is untouched"
        again = browser.post(path, seen)
        assert again.status_code == 409 and again.json()["current"] == done["sha256"]
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        undone = browser.post("/api/scans/scan-0/undo", {"mask": done["sha256"]}).json()
        assert np.array_equal(browser.mask("scan-0", "mine")[0], before)
        redone = browser.post("/api/scans/scan-0/redo", {"mask": undone["sha256"]}).json()
        assert redone["sha256"] == done["sha256"] == sha256(out / "review" / "masks" / "scan-0" / "Ada.nii.gz")
        browser.decide("scan-0", "ball")
        assert browser.post(path, WANTED[tool]).status_code == 400, "a finished structure stays"
    log = read_log(out / "review" / "audit.jsonl")
    tools = [entry["tool"] for entry in log.entries if entry.get("kind") == "mask"]
    assert tools == ["pen", tool, "undo", "redo"] and log.faults == []


@pytest.mark.parametrize("tool", WANTED)
def test_a_process_that_is_killed_while_it_saves_leaves_it_to_be_redone(
    out: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    path = f"/api/scans/scan-0/{tool}"
    with opened(out, catalogue) as store:
        before = pierced(Browser.of(store, "Ada"))
    if (child := os.fork()) == 0:
        with opened(out, catalogue) as store:
            browser = Browser.of(store, "Ada")
            monkeypatch.setattr("voxgraft.review.state.editing.write", lambda *_, **__: os._exit(9))
            base = browser.json("/api/scans/scan-0")["mask"]["sha256"]
            browser.post(path, {**WANTED[tool], "commit": True, "mask": base})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        assert np.array_equal(browser.mask("scan-0", "mine")[0], before)
        wanted = browser.post(path, WANTED[tool]).json()
        redone = browser.post("/api/scans/scan-0/redo", {"mask": wanted["sha256"]}).json()
        assert redone["changed"] == wanted["changed"]


def test_where_it_is_filled_and_over_what_is_as_asked(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        before = pierced(browser)
        k = int(np.argwhere(before == 2)[0][2])

        def changed(**more: Any) -> int:
            found: int = browser.post("/api/scans/scan-0/fill", {"label": 1, **more}).json()["changed"]
            return found

        assert changed() == changed(axis=None, slice=None) == changed(axis=2) == 4
        assert (changed(axis=2, slice=k - 1), changed(axis=2, slice=k)) == (4, 0)
        assert changed(over=True) == 5 and changed(over=True, locked=[2]) == changed(over=False) == 4


@pytest.mark.parametrize(
    ("tool", "bad"),
    [
        *(
            ("fill", bad)
            for bad in ({"axis": 3}, {"axis": -1}, {"axis": 1.5}, {"axis": "2"}, {"axis": [2]}, {"slice": 3})
        ),
        *(("fill", {"axis": 2, "slice": index}) for index in (-1, 14, 10**11, 0.5, "3", True)),
        *(("smooth", {"radius_mm": radius}) for radius in (0, -1, 15.1, 1e300, "3", True, [])),
        *(("smooth", {"kind": kind}) for kind in ("mean", "", 3, ["median"], "\ud800", "x" * 10_000)),
        *(("smooth", {"label": 2, "radius_mm": radius}) for radius in (6,)),
        *((tool, bad) for tool in WANTED for bad in ({"label": "1"}, {"label": 0.5}, {"locked": 3}, {"locked": [1]})),
        *((tool, {flag: value}) for tool in WANTED for flag in ("over", "commit") for value in (1, "yes", None, [])),
        *((tool, {"mask": mask, "commit": True}) for tool in WANTED for mask in ("", "x", "0" * 63, 5)),
    ],
)
def test_hostile_requests_are_refused_in_a_sentence(looked_at: Any, tool: str, bad: dict[str, Any]) -> None:
    browser = Browser.of(looked_at, "Ada")
    body = json.dumps({**WANTED[tool], **bad}).encode()
    answer = browser.client.post(f"/api/scans/scan-0/{tool}", content=body, headers={CSRF: browser.csrf})
    assert answer.status_code == 400 and len(answer.json()["error"]) > 15, bad


def test_strange_scans_structures_and_bodies_are_refused(looked_at: Any) -> None:
    browser = Browser.of(looked_at, "Ada")
    for tool, wanted in WANTED.items():
        assert browser.post(f"/api/scans/none/{tool}", wanted).status_code == 404
        assert browser.post(f"/api/scans/odd/{tool}", wanted).status_code == 404, "it has failed, and has no mask"
        assert browser.post(f"/api/scans/scan-0/{tool}", {**wanted, "label": 9}).status_code == 404
        assert browser.post(f"/api/scans/scan-0/{tool}", {**wanted, "mask": "0" * 64}).status_code == 409
        assert browser.client.post(f"/api/scans/scan-0/{tool}", json=wanted).status_code == 403
        for body in (b"{", b"[]", b'{"label": NaN}', b'{"label": 1e400}', b"x" * 2**21):
            answer = browser.client.post(f"/api/scans/scan-0/{tool}", content=body, headers={CSRF: browser.csrf})
            assert answer.status_code in (400, 413)


def test_slices_and_clicks_take_other_structures_only_when_told_so(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        array, affine = browser.mask("scan-0", "model")
        place = [int(n) for n in np.argwhere(array == 2).mean(0)]
        click = {"label": 1, "points": [{"index": place, "add": True}], "radius_mm": 10}
        refused = browser.post("/api/scans/scan-0/click", click)
        assert refused.status_code == 400 and "lies in structure 2" in refused.text
        assert browser.post("/api/scans/scan-0/click", {**click, "over": True}).json()["changed"]
        redrawn = array.copy(order="K")
        redrawn[:, :, place[2]][array[:, :, place[2]] == 2] = 1
        seen = browser.json("/api/scans/scan-0")["mask"]["sha256"]
        assert browser.put("scan-0", nifti(redrawn, affine), seen).status_code == 200
        slices = {"label": 1, "axis": 2, "slices": [place[2]], "reach_mm": 30}
        kept, taken = (
            browser.post("/api/scans/scan-0/propagate", {**slices, "over": over}).json()["changed"]
            for over in (False, True)
        )
        assert kept < taken
