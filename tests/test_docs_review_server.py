"""The page on the review server shows the figures that were run, and the addresses that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from starlette.routing import Route

from voxgraft.review.state.records import ROLES, VERDICTS
from voxgraft.review.web import app, app_masks

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "review_server.md").read_text(encoding="utf-8")


def results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def test_the_figures_are_those_of_the_benchmarks() -> None:
    kills, load = results("review_kills"), results("review_load")
    for found in (kills, load):
        assert f"| {found['decisions_answered']}, {found['masks_answered']} |" in PAGE
        assert not found["lost"] and not found["wrong_masks"] and not found["faults_of_the_chain"]
    assert f"killed {kills['kills']} times" in PAGE and f"in {kills['lines_of_the_log']} lines | 0 |" in PAGE
    memory = [round(load[f"mb_{name}"]) for name in ("in_the_middle", "at_the_end", "most")]
    assert f"| {memory[0]}, {memory[1]}, {memory[2]} MB |" in PAGE
    assert f"| requests | {sum(one['n'] for one in load['requests'].values())} |" in PAGE
    for kind in ("worklist", "scan", "mask", "decisions"):
        row = load["requests"][kind]
        assert f"{row['median_ms']:.0f} ms ({row['p95_ms']:.0f})" in PAGE


def test_every_address_word_and_verdict_is_on_the_page() -> None:
    paths = [route.path for route in app_masks.routes()]
    paths += re.findall(r'Route\("(/api/[^"]+)"', Path(app.__file__).read_text(encoding="utf-8"))
    assert isinstance(app_masks.routes()[0], Route)
    for path in paths:
        name = path.removeprefix("/api/scans/{case}").removeprefix("/api")
        assert re.sub(r"/\{\w+\}", "", name) in PAGE, path
    assert all(f"`{word}`" in PAGE for word in (*VERDICTS, *ROLES))
