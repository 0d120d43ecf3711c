"""What benchmarks of pages share: a page in headless Chromium, and pictures of it that stay small."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measured import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from review_batch import CHROMIUM, FLAGS

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("core", "plugins", "registry"))}
"""For processes that run this checkout."""
IMAGES = ROOT / "docs" / "images"


@contextmanager
def opened(width: int, height: int, *, scheme: str = "light", wait: int = 40_000) -> Iterator[Any]:
    """A page of a fresh browser.

    Args:
        wait: Milliseconds after which what does not come is given up.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=list(FLAGS))
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(wait)
        yield page
        browser.close()


def shoot(page: Any, path: Path, colours: int = 256, settle: int = 700) -> None:
    """Save what is on the screen, with few colours so that the file stays small.

    Args:
        settle: Milliseconds until nothing moves any more.
    """
    from PIL import Image

    page.wait_for_timeout(settle)
    page.screenshot(path=path)
    picture = Image.open(path).convert("RGB")
    picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
