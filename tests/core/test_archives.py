"""DICOM by its content before its name, and archives that are named where nobody looks into them."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Picture

from dicom_series import make_series
from voxgraft.checks.guess import guess_dataset
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.datasets.dataset import read_layout
from voxgraft.errors import DataError
from voxgraft.imaging.formats import choose_reader, unopened_in
from voxgraft.imaging.inspection import inspect_path
from voxgraft.imaging.read import read, scan

ARRAY = np.arange(8 * 6 * 5, dtype=np.int16).reshape(8, 6, 5)
AFFINE = np.diag([-1.0, -1.0, 2.5, 1.0])
ENDINGS = ("", ".img", ".hdr", ".nii", ".nii.gz", ".png", ".jpg", ".tif", ".mha", ".txt", ".dat", ".001", ".zip")


@pytest.mark.parametrize("ending", ENDINGS)
def test_dicom_is_known_by_its_content_whatever_it_is_called(tmp_path: Path, catalogue: Catalogue, ending: str) -> None:
    files = make_series(tmp_path / "scan", ARRAY, AFFINE, name="011-{:04d}" + ending)
    assert {spec.name for file in files if (spec := choose_reader(file, catalogue)) is not None} == {"dicom"}
    (item,) = scan(tmp_path, catalogue)
    assert (item.reader, item.shape, item.problems) == ("dicom", (8, 6, 5), ())
    np.testing.assert_array_equal(read(tmp_path, catalogue).array, ARRAY)
    for case in (
        guess_dataset(tmp_path, catalogue)[1].cases,
        read_layout(choose(catalogue, "layout", {"use": "dicom", "path": tmp_path}), catalogue).cases,
    ):
        assert len(case) == 1 and len(case[0].images[0].files) == 5  # type: ignore[union-attr]


def test_a_tree_of_dicom_with_foreign_endings_is_guessed_to_be_one(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "scan", ARRAY, AFFINE, name="{:04d}.img")
    layout, _ = guess_dataset(tmp_path, catalogue)
    assert layout is not None and layout.name == "dicom"


def packed(folder: Path) -> None:
    """A series, a packed slice and two archives beside it, and a packed text, which is not a scan."""
    files = make_series(folder / "scan", ARRAY, AFFINE)
    (folder / "more.dcm.gz").write_bytes(gzip.compress(files[0].read_bytes()))
    (folder / "notes.json.gz").write_bytes(gzip.compress(b"{}"))
    with zipfile.ZipFile(folder / "old.zip", "w") as archive:
        archive.write(files[1], "0001.dcm")
    shutil.make_archive(str(folder / "older"), "gztar", folder / "scan")


NAMES = ("more.dcm.gz", "old.zip", "older.tar.gz")


def test_archives_are_named_by_inspect_and_check(tmp_path: Path, catalogue: Catalogue) -> None:
    packed(tmp_path)
    for call in (["inspect", str(tmp_path)], ["check", str(tmp_path)]):
        found = CliRunner().invoke(main, call)
        assert found.exit_code == 0 and "3 archives or packed files" in found.output, found.output
        assert all(name in found.output for name in NAMES) and "notes.json" not in found.output
    document = json.loads(CliRunner().invoke(main, ["inspect", str(tmp_path), "--json"]).output)
    assert [one["code"] for one in document["problems"]] == ["archive"] and len(document["items"]) == 1
    _, dataset = guess_dataset(tmp_path, catalogue)
    assert [(one.code, one.severity) for one in dataset.problems] == [("archive", "warning")]


def test_a_folder_of_archives_alone_says_so(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "scan.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    with pytest.raises(DataError, match=r"scan\.7z"):
        scan(tmp_path, catalogue)
    with pytest.raises(DataError, match="unpack"):
        scan(tmp_path / "scan.7z", catalogue)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a series, and one that cannot be opened, whoever asks."""
    make_series(tmp_path / "scans" / "open", ARRAY, AFFINE)
    make_series(tmp_path / "scans" / "closed", ARRAY, AFFINE, SeriesInstanceUID="1.2.9")
    (tmp_path / "scans" / "lost+found").mkdir()
    listing = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name in ("closed", "lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return tmp_path / "scans"


def test_a_folder_that_cannot_be_opened_is_named(closed: Path, catalogue: Catalogue) -> None:
    assert [path.name for path in unopened_in(closed, catalogue)] == ["closed"]
    for call in (["inspect", str(closed)], ["check", str(closed)]):
        found = CliRunner().invoke(main, call)
        assert found.exit_code == 0 and "cannot be opened (closed)" in found.output, found.output


def test_pictures_that_are_left_out_beside_scans_are_named(tmp_path: Path, catalogue: Catalogue) -> None:
    for name in ("a.png", "b.PNG"):
        Picture.new("L", (8, 8)).save(tmp_path / name, format="png")
    assert [len(inspect_path(tmp_path, catalogue)), inspect_path(tmp_path, catalogue).problems] == [2, ()]
    make_series(tmp_path / "scan", np.zeros((4, 4, 3), np.int16), np.eye(4))
    found = inspect_path(tmp_path, catalogue)
    assert len(found) == 1 and [one.code for one in found.problems] == ["illustrations"]
    assert "2 pictures beside the scans" in found.problems[0].message
