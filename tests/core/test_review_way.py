"""Next, previous and next not reviewed follow the worklist as the reader has filtered and ordered it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from review_batches import Browser, opened

from voxgraft.components.catalogue import Catalogue
from voxgraft.review.state.store import ReviewStore


def way(browser: Browser, case: str, asked: str = "") -> tuple[Any, ...]:
    scan = browser.json(f"/api/scans/{case}?{asked}")
    return tuple(scan[name] for name in ("previous", "next", "next_open", "place", "total"))


@pytest.mark.parametrize(
    ("case", "asked", "wanted"),
    [
        ("scan-0", "", ("odd", "scan-1", "scan-1", 2, 4)),
        ("odd", "", (None, "scan-0", "scan-0", 1, 4)),
        ("scan-2", "", ("scan-1", None, "odd", 4, 4)),
        ("scan-0", "sort=-case", ("scan-1", "odd", "odd", 3, 4)),
        ("scan-0", "state=done", (None, "scan-1", "scan-1", 1, 3)),
        ("scan-2", "state=done", ("scan-1", None, "scan-0", 3, 3)),
        ("scan-0", "structure=ball&sort=-ml", ("scan-1", None, "scan-2", 3, 3)),
        ("scan-1", "q=SCAN-", ("scan-0", "scan-2", "scan-2", 2, 3)),
        ("scan-1", "q=none", (None, None, None, 1, 1)),
        ("scan-1", "flag=none", (None, None, None, 1, 1)),
        ("scan-1", "state=failed", ("odd", None, "odd", 2, 2)),
        ("scan-1", "state=left-out", (None, None, None, 1, 1)),
        ("scan-1", "state=reviewed", (None, None, None, 1, 1)),
    ],
)
def test_the_scans_around_one_are_those_of_the_list(
    looked_at: ReviewStore, case: str, asked: str, wanted: tuple[Any, ...]
) -> None:
    assert way(Browser.of(looked_at), case, asked) == wanted


@pytest.mark.parametrize("asked", ["sort=color", "limit=-1", "offset=x"])
def test_a_list_that_cannot_be_asked_for_is_refused(looked_at: ReviewStore, asked: str) -> None:
    answer = Browser.of(looked_at).get(f"/api/scans/scan-0?{asked}")
    assert answer.status_code == 400 and answer.json()["error"]


def test_a_decision_takes_no_scan_out_of_its_place_before_the_reader_leaves_it(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        browser.decide("scan-1", "")
        browser.decide("scan-2", "ball")
        assert way(browser, "scan-1", "state=open&was=open") == ("scan-0", None, "odd", 3, 3)
        assert way(browser, "scan-0", "state=open") == ("odd", None, "odd", 2, 2), "scan-1 is reviewed, scan-2 begun"
        assert way(browser, "scan-0") == ("odd", "scan-1", "scan-2", 2, 4), "the reviewed one is passed over"
        by_state = "sort=state&was=open"
        browser.decide("scan-0", "ball")
        assert way(browser, "scan-0", by_state)[1:] == ("odd", "odd", 1, 4), "among the open, where it was opened"
        assert way(browser, "scan-0", "sort=state&was=<b>")[3] == 1


def test_the_list_says_where_a_scan_stands_and_counts_all_whatever_is_shown(out: Path, catalogue: Catalogue) -> None:
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        everything = browser.json("/api/worklist")["counts"]
        for asked, place, total in (
            ("case=scan-1", 2, 4),
            ("case=scan-1&limit=1", 2, 4),
            ("case=scan-1&sort=-case", 1, 4),
            ("case=gone", None, 4),
            ("", None, 4),
            ("case=scan-1&state=failed", 1, 1),
            ("case=scan-1&state=left-out", 0, 0),
        ):
            answer = browser.json(f"/api/worklist?{asked}")
            assert (answer["place"], answer["total"]) == (place, total), asked
            assert answer["counts"] == everything, asked
        browser.decide("scan-1", "")
        answer = browser.json("/api/worklist?case=scan-1&state=open")
        assert [one["case"] for one in answer["scans"]][answer["place"]] == "scan-2", "the one after it takes its place"
