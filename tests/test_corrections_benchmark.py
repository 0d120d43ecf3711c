"""The page on corrections shows the figures of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "review_corrections.md").read_text(encoding="utf-8")


def results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return found


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def test_the_page_shows_what_slices_and_clicks_are_worth() -> None:
    shifted, parts = (results("corrections")["atria"][kind] for kind in ("shifted", "parts"))
    assert row("none", f"{shifted['before']:.3f}", f"{parts['before']:.3f}") in PAGE
    for name, one in shifted["slices"].items():
        assert row(name, f"{one['propagated']:.3f}", f"{parts['slices'][name]['propagated']:.3f}") in PAGE
    for kind, found in (("shifted", shifted), ("parts", parts)):
        for arm, scores in found["clicks"].items():
            assert row(kind, arm, *(f"{score:.3f}" for score in scores.values())) in PAGE


def test_the_page_shows_the_times() -> None:
    for name, seconds in results("corrections")["seconds"].items():
        assert row(name, f"{seconds:.2f}") in PAGE


def test_corrections_never_make_it_worse_and_stay_within_their_time() -> None:
    found = results("corrections")
    for kind in found["atria"].values():
        assert all(one["propagated"] > kind["before"] for one in kind["slices"].values())
        scores = list(kind["clicks"]["engine"].values())
        assert scores == sorted(scores) and kind["click_seconds"]["highest"] <= 0.3
    limits = {"click": 0.3, "ten": 1.0}
    assert all(
        found["seconds"][name] <= limits[name.split()[0]] for name in found["seconds"] if name.split()[0] in limits
    )
