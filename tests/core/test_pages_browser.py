"""Pages in a browser: nothing is cut off at 800 pixels; sorting, finding and enlarging need no mouse."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_scans import Brightness, ball, model, write_scan

from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.volume import Volume
from voxgraft.reports.drawing import Picture
from voxgraft.reports.preview import previewed
from voxgraft.reports.scores import About, page
from voxgraft.scoring.scores import Scores

sync = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
LONG = "a-structure-whose-name-nobody-has-shortened-" * 3
TOO_WIDE = """() => Array.from(document.querySelectorAll("body *")).filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width && !one.closest("svg") && (box.right > document.documentElement.clientWidth + 1 || box.left < -1
    || (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === "auto"));
}).map((one) => one.tagName + "." + one.className)"""
CASES = (
    "Array.from(document.querySelectorAll('table.found tbody tr:not([hidden]) .case')).map((one) => one.textContent)"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def worklist(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """The page of four scans, of which one is damaged and one has a long name."""
    folder = tmp_path_factory.mktemp("batch")
    scans = [write_scan(folder / "in" / f"{name}.nii.gz", ball(radius=n)) for n, name in enumerate("abc", 4)]
    scans.append(write_scan(folder / "in" / f"{'long' * 20}.nii.gz"))
    (folder / "in" / "broken.nii.gz").write_bytes(b"no image")
    package = model(folder / "model", labels=((1, LONG), (2, "core")))
    predictor = Named(confidence=0.6)
    inputs = [*scans, folder / "in" / "broken.nii.gz"]
    segment(package, inputs, folder / "out", catalogue, writers=("nifti",), predictor=predictor)
    return folder / "out" / "report.html"


class Named(Brightness):
    """As its parent, with the names of this page's structures."""

    def predict(self, volume: Volume) -> Any:
        found = super().predict(volume)
        self.confidence += 0.08
        found.confidence = {LONG: found.confidence["ball"], "core": 0.99}
        return found


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of scores with many metrics, long names, an undefined value and pictures."""
    metrics = ("dice", "iou", "hd95", "nsd", "assd", "precision", "recall", "lesion-f1")
    found = {f"case-{n}-{'x' * 60}": {m: {LONG: n / 7, "core": math.nan} for m in metrics} for n in range(5)}
    scan = Volume(ball(), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    shown = previewed(scan, scan.with_array((scan.array > 100).astype("u1")), None, {1: LONG})
    pictures = {case: Picture(shown.drawn, shown.plain, LONG) for case in list(found)[:2]}
    path = tmp_path_factory.mktemp("scores") / "scores.html"
    cards = {metric: About(LONG, "mm") for metric in metrics}
    path.write_text(page(Scores.of(found), cards, LONG, pictures), encoding="utf-8")
    return path


@pytest.mark.parametrize("made", ["worklist", "scored"])
@pytest.mark.parametrize("width", [800, 1400])
def test_nothing_is_cut_off(browser: Any, request: pytest.FixtureRequest, made: str, width: int) -> None:
    view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if width > 800 else "light")
    asked: list[str] = []
    view.on("request", lambda one: asked.append(one.url))
    view.goto(request.getfixturevalue(made).as_uri())
    assert view.evaluate(TOO_WIDE) == []
    assert asked and all(url.startswith(("file:", "data:")) for url in asked), "nothing from outside"
    ground = view.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(244, 246, 248)") == (width == 800), "dark where the reader's screen is"
    view.close()


def test_a_worklist_is_sorted_and_searched_by_keyboard(browser: Any, worklist: Path) -> None:
    view = browser.new_page(viewport={"width": 800, "height": 900})
    view.goto(worklist.as_uri())
    first = view.evaluate(CASES)
    assert first[0] == "broken" and len(first) == 5
    view.locator("th button", has_text="Lowest confidence").focus()
    view.keyboard.press("Enter")
    rising = view.evaluate(CASES)
    view.keyboard.press("Space")
    falling = view.evaluate(CASES)
    assert rising[-1] == falling[-1] == "broken", "what has no value comes last"
    assert rising[:-1] == ["a", "b", "c", "long" * 20] == falling[:-1][::-1]
    assert view.locator("th[aria-sort=descending]").inner_text().startswith("Lowest confidence")
    view.keyboard.press("/")
    view.keyboard.type("LONG core")
    assert view.evaluate(CASES) == ["long" * 20] and view.locator("#shown").inner_text() == "1 of 5 shown"
    view.keyboard.press("Escape")
    assert len(view.evaluate(CASES)) == 5
    view.locator("button[data-state=bad]").focus()
    view.keyboard.press("Enter")
    assert view.evaluate(CASES) == ["broken"]
    view.close()


def test_a_picture_is_enlarged_in_place_with_and_without_contours(browser: Any, worklist: Path) -> None:
    view = browser.new_page(viewport={"width": 800, "height": 900})
    view.goto(worklist.as_uri())
    view.locator("button.picture").first.focus()
    view.keyboard.press("Enter")
    image = view.locator("dialog[open] img")
    assert image.get_attribute("src").endswith("/preview.png") and image.bounding_box()["width"] > 700
    title = view.locator("dialog h2").inner_text()
    view.keyboard.press("c")
    assert image.get_attribute("src").endswith("/preview-plain.jpg")
    assert view.evaluate("document.querySelector('dialog img').decode().then(() => true)"), "it is there"
    view.keyboard.press("ArrowRight")
    assert view.locator("dialog h2").inner_text() != title
    assert image.get_attribute("src").endswith("/preview-plain.jpg"), "the next one likewise"
    view.keyboard.press("Escape")
    assert view.locator("dialog[open]").count() == 0
    assert view.evaluate("document.activeElement.className") == "picture", "one goes on where one was"
    assert view.locator("button[data-contours]").first.get_attribute("aria-pressed") == "false"
    view.close()
