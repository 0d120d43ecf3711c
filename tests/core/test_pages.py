"""Pages: one base, every value escaped, nothing from outside."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import jinja2
import pytest

from voxgraft.advice.page import arm_rows
from voxgraft.advice.page import page as advice_page
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
    rest = {"ci95": (0.05, 0.15), "common": 10, "patients": 9, "undefined": (0, 2), "mixed": False, "verdict": "better"}
    one = Comparison(HOSTILE, HOSTILE, HOSTILE, HOSTILE, **NUMBERS, **rest)
    return comparison_page([one], {HOSTILE: {"": CURVE, HOSTILE: CURVE}}, HOSTILE)


def advice() -> str:
    encoder = {"use": HOSTILE, "weights": HOSTILE}
    arm = {"round": 1, "arm": HOSTILE, "dice": 0.5, "steps": 3, "seconds": 1.0, "evidence": HOSTILE}
    found = {"minutes": 15, "minutes_used": 2.5, "tournament": [arm], "facts": {HOSTILE: [HOSTILE, 3]}}
    found["probes"] = [{"encoder": encoder, "verdict": HOSTILE, "error": HOSTILE}]
    found["shapes"] = [{"shape": HOSTILE, "own": False, "error": HOSTILE}]
    return advice_page({**found, **dict.fromkeys(("workflow", "ended", "advice", "shape"), HOSTILE)})


@pytest.mark.parametrize("made", [comparison, advice])
def test_what_files_say_stays_text(made) -> None:
    text = made()
    parsed = Parsed(text)
    assert parsed.tags.count("script") == 1 and not any(name.startswith("on") for name in parsed.attributes)
    assert parsed.text.count(HOSTILE) >= 5, "shown as it is written"
    assert "default-src 'none'" in text and not re.search(r"https?://|src=[\"']|href=", text)


def test_names_in_plots_stay_text() -> None:
    for text in (box_plot({HOSTILE: {HOSTILE: 0.5}}, None, HOSTILE), reliability_plot({HOSTILE: BINS})):
        assert "script" not in Parsed(text).tags and HOSTILE in Parsed(text).text


@pytest.mark.parametrize("values", [[0.61, 0.97], [3.2, 41.7], [-4.0, 2.0], [1e-7, 3e-7], [5.0]])
def test_axes_have_a_title_and_end_with_a_labelled_tick(values: list[float]) -> None:
    text = box_plot({"liver": {str(number): value for number, value in enumerate(values)}}, None, "hd95 (mm)")
    ticks = [float(x) for x in re.findall(r'<line x1="([\d.]+)" x2="\1" y1="6"', text)]
    assert min(ticks) == 190 and max(ticks) == 660 and ">hd95 (mm)</text>" in text
    labels = [float(label) for label in re.findall(r'y="\d+" text-anchor="middle">([-\d.e]+)</text>', text)]
    assert len(labels) == len(ticks) and labels[0] <= min(values) and labels[-1] >= max(values)


def test_a_comparison_says_how_many_cases_are_behind_it() -> None:
    text = Parsed(comparison()).text
    assert "9 of 10, 9 patients" in text and f"0 of {HOSTILE}, 2 of {HOSTILE}" in text


def test_an_undefined_dice_is_shown_as_such() -> None:
    arm = {"round": 1, "arm": "x", "dice": math.nan, "steps": 3, "seconds": 1.0, "volumes": 4, "defined": 0}
    assert arm_rows({"tournament": [arm, {**arm, "dice": 0.5, "defined": 3}]})[0][2] == "undefined, 0 of 4 volumes"
    assert arm_rows({"tournament": [{**arm, "dice": 0.5, "defined": 3}]})[0][2] == "0.500, 3 of 4 volumes"


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="how"):
        render("reports/comparison.html", title="x", rows=[], plots={}, HEADS=[])


def test_only_finished_plots_are_written_unescaped() -> None:
    root = Path(str(files("voxgraft")))
    marked = {
        (path.name, found)
        for path in (*root.rglob("*.html"), *root.rglob("*.svg"))
        for found in re.findall(r"\{\{ (.*?) \| safe \}\}", path.read_text(encoding="utf-8"))
    }
    finished = {("scores.html", "plots[metric]"), ("scores.html", "reliability"), ("charts.html", "picture")}
    assert marked == finished
    assert not [path for path in root.rglob("*.html") if "autoescape" in path.read_text(encoding="utf-8")]
