"""docs/review.md and the pages say the same; the viewer is vendored as it was published, and touched in one file."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "core" / "voxgraft" / "review" / "static"
PAGE = (ROOT / "docs" / "review.md").read_text()


def keys_of(table: str) -> list[list[str]]:
    """The keys of a page: each with what it does and the name of its action."""
    text = (STATIC / "keys_table.js").read_text()
    body = re.search(rf"export const {table} = \[\n(.*?)^\];", text, re.S | re.M)
    assert body is not None
    return [json.loads(line.strip().rstrip(",")) for line in body[1].splitlines()]


@pytest.mark.parametrize("table", ["WORKLIST", "VIEWER"])
def test_the_sheet_of_keys_is_that_of_the_page(table: str) -> None:
    rows = [f"| {' '.join(f'`{key}`' for key in keys.split(' '))} | {text} |" for keys, text, _ in keys_of(table)]
    assert "\n".join(["| key | what it does |", "| --- | --- |", *rows]) in PAGE


@pytest.mark.parametrize("table", ["WORKLIST", "VIEWER"])
def test_no_key_stands_for_two_actions(table: str) -> None:
    keys = [key for entry in keys_of(table) for key in entry[0].split(" ")]
    assert len(keys) == len(set(keys))


def test_every_key_has_an_action() -> None:
    source = "".join(path.read_text() for path in STATIC.glob("*.js") if path.name != "keys_table.js")
    for name in {entry[2] for table in ("WORKLIST", "VIEWER") for entry in keys_of(table)}:
        named = rf"\b{name}\b\s*[:,(]|\[\"axial\", \"coronal\", \"sagittal\"\]"
        assert re.search(named, source), name


def test_the_viewer_is_the_published_file() -> None:
    vendor = STATIC / "vendor"
    digest = hashlib.sha256((vendor / "niivue-0.69.0.umd.js").read_bytes()).hexdigest()
    assert digest in (vendor / "README.md").read_text()
    assert "BSD 2-Clause License" in (vendor / "niivue-LICENSE.txt").read_text()


def test_only_the_adapter_touches_the_viewer() -> None:
    for path in STATIC.glob("*.js"):
        if path.name != "niivue_adapter.js":
            assert re.findall(r"niivue(?!_adapter\.js)", path.read_text(), re.I) == [], path.name


def test_pages_have_no_inline_script_or_style_and_no_other_host() -> None:
    for path in (*STATIC.glob("*.html"), *STATIC.glob("*.js"), *STATIC.glob("*.css")):
        text = path.read_text()
        assert not re.search(
            r"<style|<script(?![^>]*\bsrc=)|<[^>]*\s(style|on\w+)=|(?<!\")https?://(?!www\.w3\.org)", text
        ), path


@pytest.mark.parametrize(("script", "result"), [("review_page", "review_page"), ("review_path_reader", "review_path")])
def test_the_figures_are_those_of_the_benchmarks(script: str, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module(script)
    assert module.tables(json.loads((ROOT / "benchmarks" / "results" / f"{result}.json").read_text())) in PAGE


def test_what_came_of_one_readers_morning_is_that_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "review_path.json").read_text())
    told, text = found["register"]["comparison"], " ".join(PAGE.split())
    low, high = told["ci95"]
    assert f"the {told['cases']} held-out scans: Dice {told['difference']:+.4f} ({low:+.4f} to {high:+.4f})" in text
    old, new = (found["fresh"][name]["mean"] for name in ("champion", "next version"))
    assert f"{old:.4f} with the champion and {new:.4f} with the next version" in text
    assert f"load {found['load']:g}" in text
