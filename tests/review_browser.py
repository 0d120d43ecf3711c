"""What browser tests of the review share: is there a browser, masks as saved and as shown, and the page's messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from review_batch import Server, Voxels, saved, why_no_browser

needs_browser = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "there is a browser")


def mask_of(server: Server, case: str, reader: str) -> Voxels:
    """The mask that is saved."""
    return np.asarray(nib.load(server.out / "review" / "masks" / case / f"{reader}.nii.gz").dataobj)


def shown(page: Any) -> Voxels:
    """The mask on the screen, in the file's own order."""
    script = "() => Array.from(review.grid.toFile(review.mask, Uint8Array, review.codes))"
    return np.array(page.evaluate(script), np.uint8).reshape((32, 32, 32), order="F")


def apply_preview(page: Any, server: Server, case: str, reader: str) -> tuple[Voxels, Voxels]:
    """The masks on the server while the preview is on the screen, and after it was applied."""
    page.wait_for_selector("[data-act=apply]")
    before = mask_of(server, case, reader)
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-act=apply]", state="detached")
    saved(page)
    after = mask_of(server, case, reader)
    np.testing.assert_array_equal(shown(page), after)
    return before, after


def told(page: Any, words: str, act: Callable[[], object]) -> None:
    """Do what the page answers with a message, and wait for that: not for the same words of an earlier step."""
    page.evaluate("() => document.querySelector('#toasts').replaceChildren()")
    act()
    page.wait_for_selector(f"#toasts >> text={words}")
