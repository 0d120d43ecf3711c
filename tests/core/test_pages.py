"""Pages: one base, every value escaped, nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import jinja2
import pytest

from voxgraft.advise.page import page as advice_page
from voxgraft.reports.comparison import comparison_page
from voxgraft.reports.plots import box_plot, reliability_plot
from voxgraft.reports.render import render
from voxgraft.scoring.comparison import Comparison

HOSTILE = '<script>alert("x")</script>&\'"{{ 7 * 7 }}'
NUMBERS = {"mean": 0.9, "against_mean": 0.8, "difference": 0.1, "p": 0.01, "p_holm": 0.02, "p_bh": 0.02, "n": 9}
CURVE = [{"step": 10, "seconds": 30, "dice": 0.4}, {"step": 20, "seconds": 60, "dice": 0.8}]
BINS = {"voxels": [3, 0, 2], "confidence": [0.3, 0.0, 1.9], "true": [0, 0, 2]}


class Parsed(HTMLParser):
    """What a browser makes of a page: tags, the names of attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def comparison() -> str:
    rest = {"ci95": (0.05, 0.15), "patients": 9, "undefined": (0, 0), "mixed": False, "verdict": "better"}
    one = Comparison(HOSTILE, HOSTILE, HOSTILE, HOSTILE, **NUMBERS, **rest)
    return comparison_page([one], {HOSTILE: {"": CURVE, HOSTILE: CURVE}}, HOSTILE)


def advice() -> str:
    encoder = {"use": HOSTILE, "weights": HOSTILE}
    arm = {"round": 1, "arm": HOSTILE, "dice": 0.5, "steps": 3, "seconds": 1.0, "evidence": HOSTILE}
    found = {"minutes": 15, "minutes_used": 2.5, "tournament": [arm], "facts": {HOSTILE: [HOSTILE, 3]}}
    found["probes"] = [{"encoder": encoder, "verdict": HOSTILE, "error": HOSTILE}]
    return advice_page({**found, **dict.fromkeys(("workflow", "ended", "advice"), HOSTILE)})


@pytest.mark.parametrize("made", [comparison, advice])
def test_what_files_say_stays_text(made) -> None:
    text = made()
    parsed = Parsed(text)
    assert "script" not in parsed.tags and not any(name.startswith("on") for name in parsed.attributes)
    assert parsed.text.count(HOSTILE) >= 5, "shown as it is written"
    assert "default-src 'none'" in text and not re.search(r"https?://|src=|href=", text)


def test_names_in_plots_stay_text() -> None:
    for text in (box_plot({HOSTILE: {HOSTILE: 0.5}}, None, HOSTILE), reliability_plot({HOSTILE: BINS})):
        assert "script" not in Parsed(text).tags and HOSTILE in Parsed(text).text


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="how"):
        render("reports/comparison.html", title="x", rows=[], plots={})


def test_only_finished_plots_are_written_unescaped() -> None:
    root = Path(str(files("voxgraft")))
    marked = {
        (path.name, found)
        for path in (*root.rglob("*.html"), *root.rglob("*.svg"))
        for found in re.findall(r"\{\{ (.*?) \| safe \}\}", path.read_text(encoding="utf-8"))
    }
    assert marked == {("scores.html", "plots[metric]"), ("scores.html", "reliability")}
    assert not [path for path in root.rglob("*.html") if "autoescape" in path.read_text(encoding="utf-8")]
