"""Scores of images whose pixels have no size: distances are in pixels, and are called so."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from voxgraft.cli import main
from voxgraft.runs.pooling import pooled
from voxgraft.scoring.scores import Scores


def drawn(folder: Path, name: str, shift: int = 0) -> None:
    """A square of 8 pixels, as a picture that says nothing of their size or as NIfTI of 0.5 mm."""
    array = np.zeros((30, 20), np.uint8)
    array[8 + shift : 16 + shift, 6:14] = 1
    folder.mkdir(exist_ok=True)
    if name.endswith(".png"):
        Image.fromarray(array.T).save(folder / name)
    else:
        nib.save(nib.Nifti1Image(array[..., None], np.diag([0.5, 0.5, 1, 1])), folder / name)


@pytest.mark.parametrize(
    ("names", "unit", "words"),
    [
        (("a.png", "b.png"), "hd95 (pixels)", "the files of 2 of 2 cases do not say how large a pixel is"),
        (("a.png", "b.nii.gz"), "hd95 (mm or pixels)", "the files of 1 of 2 cases do not say"),
        (("a.nii.gz", "b.nii.gz"), "hd95 (mm)", ""),
    ],
)
def test_distances_are_in_pixels_where_nobody_knows_their_size(
    tmp_path: Path, names: tuple[str, ...], unit: str, words: str
) -> None:
    for name in names:
        drawn(tmp_path / "predictions", name, shift=2)
        drawn(tmp_path / "references", name)
    call = ["evaluate", str(tmp_path / "predictions"), str(tmp_path / "references"), "--metrics", "hd95,nsd"]
    call += ["--labels", "square=1", "--out", str(tmp_path / "s.json"), "--out", str(tmp_path / "s.html")]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    assert unit in done.stdout and (words in done.stderr if words else "pixel" not in done.stderr)
    page = (tmp_path / "s.html").read_text()
    assert f", {unit.split('(')[1][:-1]})" in page and (words in page if words else "pixel" not in page)
    document = json.loads((tmp_path / "s.json").read_text())
    assert document.get("unsized", []) == [name.split(".")[0] for name in names if name.endswith(".png")]
    assert document["cases"]["a"]["hd95"]["square"] == pytest.approx(2.0 if names[0] == "a.png" else 1.0)
    again = Scores.from_json(tmp_path / "s.json")
    assert again.note == Scores.from_document(again.document()).note and (words in again.note)
    assert pooled([again, again], {"a": 1, "b": 2}).unsized == again.unsized
    assert again.only(["b"]).unsized == tuple(case for case in again.unsized if case == "b")
