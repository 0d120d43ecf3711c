"""What a notebook shows of volumes, scores, comparisons, batches and findings."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import voxgraft as vg
from voxgraft.batch.queue import Batch, Scan
from voxgraft.checks.dataset import Findings
from voxgraft.checks.problem import CaseProblem
from voxgraft.imaging.inspection import Inspection
from voxgraft.imaging.volume import Item
from voxgraft.scoring.scores import Scores

HOSTILE = "<script>alert(1)</script>\x1b[31m"


def pictures(html: str) -> list[Image.Image]:
    return [Image.open(BytesIO(b64decode(data))) for data in re.findall(r"base64,([\w+/=]+)", html)]


def test_a_volume_shows_its_middle_slices_shape_spacing_and_modality() -> None:
    array = np.random.default_rng(0).normal(0, 100, (24, 32, 10))
    item = Item(Path("x"), "dicom", (24, 32, 10), np.eye(4), modality="CT", description=HOSTILE)
    html = vg.Volume(array, np.diag([0.7, 0.7, 5.0, 1.0]), item=item)._repr_html_()
    assert html is not None and "24x32x10 voxels, 0.7 x 0.7 x 5 mm" in html and "CT, " in html
    assert "<script>" not in html and "\x1b" not in html
    (picture,) = pictures(html)
    assert picture.format == "PNG" and picture.width > 2 * 280 > picture.height


def test_a_mask_is_shown_in_colours() -> None:
    array = np.zeros((16, 16, 16), np.uint8)
    array[4:12, 4:12, 4:12] = 1
    array[6:9, 6:9, 6:9] = 2
    (picture,) = pictures(vg.Volume(array, np.eye(4))._repr_html_() or "")
    colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=100_000) or ()}
    assert {(64, 196, 255), (255, 99, 71)} <= colours


@pytest.mark.parametrize(
    "array",
    [
        np.full((6, 6, 6), np.nan),
        np.zeros((6, 6, 6)),
        np.full((1, 1, 1), 7),
        np.ones((2, 5, 6, 7)),
        np.zeros((9, 4), bool),
        np.zeros((3, 9, 4), np.uint8),
        np.full((4, 4, 4), np.inf),
        np.full((4, 4, 4), 2**63, np.uint64),
        np.zeros((4, 4, 4), np.int8) - 3,
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_every_volume_can_be_shown(array: np.ndarray) -> None:
    dims = 2 if array.shape in {(9, 4), (3, 9, 4)} else 3
    assert len(pictures(vg.Volume(array, np.eye(4), dims=dims)._repr_html_() or "")) == 1


def test_an_empty_volume_says_so() -> None:
    assert "has no voxels" in (vg.Volume(np.zeros((0, 4, 4)), np.eye(4))._repr_html_() or "")


def test_scores_and_comparisons_are_tables(tmp_path: Path) -> None:
    scores = Scores.of({HOSTILE: {"dice": {"liver": 0.91, HOSTILE: float("nan")}}}, failed={"b": HOSTILE})
    html = scores._repr_html_() or ""
    assert "0.910" in html and "undefined" in html and "<script>" not in html and "&lt;script&gt;" in html
    runs = []
    for name in ("a", "b"):
        runs.append(tmp_path / f"{name}.json")
        cases = {str(case): {"dice": {"liver": 0.5 + 0.1 * (name == "b")}} for case in range(8)}
        runs[-1].write_text(json.dumps(Scores.of(cases).document()))
    html = vg.compare(runs)._repr_html_() or ""
    assert "corrected by Holm" in html and 'class="good">better<' in html


def test_a_batch_shows_states_and_pictures(tmp_path: Path) -> None:
    for case in ("one", "two"):
        (tmp_path / case).mkdir()
    Image.fromarray(np.zeros((900, 900, 3), np.uint8)).save(tmp_path / "one" / "preview.png")
    (tmp_path / "two" / "preview.png").write_bytes(b"broken")
    scans = (Scan("one", "a", "done"), Scan("two", "b", "failed", HOSTILE, "bad-image"))
    html = Batch(tmp_path, scans)._repr_html_()
    assert "1 done, 1 failed" in html and 'class="bad">failed<' in html and "<script>" not in html
    (picture,) = pictures(html)
    assert picture.size == (420, 420)
    assert "no scan" in Batch(tmp_path, ())._repr_html_()


def test_findings_and_what_was_found_in_a_folder_are_tables() -> None:
    problems = tuple(CaseProblem("nan-voxels", "error", f"case{n}", HOSTILE) for n in range(3))
    html = Findings(3, problems)._repr_html_()
    assert "3 cases, 3 errors" in html and "nan-voxels" in html and "<script>" not in html
    items = tuple(Item(Path(f"{n}.nii"), "nifti", (1, 2, 3), np.eye(4), description=HOSTILE) for n in range(60))
    html = Inspection(Path(HOSTILE), items)._repr_html_() or ""
    assert "60 images in" in html and "and 10 more" in html and "<script>" not in html
