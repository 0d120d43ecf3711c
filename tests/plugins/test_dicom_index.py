"""Tests of the index of a DICOM tree: it says what a fresh look says, whatever happened to the files or to itself."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import voxgraft_dicom.layout.index as index
from dicom_series import make_series
from dicom_structures import make_seg
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import choose
from voxgraft.datasets.cases import Dataset
from voxgraft.datasets.dataset import read_layout
from voxgraft.discovery import discover
from voxgraft.errors import DataError
from voxgraft.imaging.formats import ReaderSpec
from voxgraft.imaging.read import scan
from voxgraft.imaging.volume import Item
from voxgraft.support.progress import Progress
from voxgraft_dicom.layout.index import Tree, decode, encode, images_in, nameless, readers_hash
from voxgraft_dicom.layout.store import Store

QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def no_file_is_too_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just made may be remembered: here nothing changes twice within a tick of the clock."""
    monkeypatch.setattr(index, "YOUNG", -1e9)


def series(folder: Path, slices: int = 4, **changes: Any) -> list[Path]:
    array = np.random.default_rng(slices).integers(0, 99, (6, 5, slices)).astype(np.int16)
    return make_series(folder, array, np.diag([-1.0, -1.0, 2.0, 1.0]), **changes)


def forest(root: Path) -> Path:
    """Folders of one series and of many, a series in two folders, one cut short, an object, and rubbish."""
    for patient in range(3):
        series(root / f"p{patient}/s", PatientID=f"P{patient}")
    for number in range(3):
        series(root / "flat", name=f"{number}-{{:04d}}.dcm", SeriesInstanceUID=f"1.2.{number + 1}", SeriesNumber=number)
    halves = series(root / "spread/one", 6, PatientID="MRN-12345")
    (root / "spread/two").mkdir()
    for file in halves[3:]:
        file.rename(root / "spread/two" / file.name)
    make_seg(root / "objects/x.dcm", sorted((root / "p1/s").iterdir()), {"Liver": np.ones((6, 5, 4), bool)})
    whole, cut = series(root / "lone", 2, name="IM{:04d}")
    cut.write_bytes(whole.read_bytes()[:60])
    (root / "p2/notes.txt").write_text("nothing")
    (root / "p2/s/broken.dcm").write_bytes(b"\0" * 128 + b"DICM\x02\x00\x00\x00UL\x04")
    return root


def plain(items: list[Item]) -> list[Any]:
    """Items as values that compare."""
    return [(replace(item, affine=None), item.affine.tolist()) for item in items]  # type: ignore[arg-type]


def looked(root: Path, place: Path | None, catalogue: Catalogue) -> list[Item]:
    if place is None:
        return images_in(Tree(root), catalogue, None, QUIET)
    store = Store(place, str(root), readers_hash(catalogue))
    try:
        return images_in(Tree(root), catalogue, store, QUIET)
    finally:
        store.close()


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose headers are read from now on."""
    read: list[Path] = []
    look = index.scan_files

    def counted(files: list[Path], catalogue: Catalogue, **options: bool) -> list[Item]:
        read.extend(files)
        return look(files, catalogue, **options)

    monkeypatch.setattr(index, "scan_files", counted)
    return read


def test_an_index_says_what_a_fresh_look_says(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = forest(tmp_path / "tree")
    fresh = plain(looked(root, None, catalogue))
    assert (
        len(fresh) == 9
        and any(item.errors for item, _ in fresh)
        and any(item.kind == "structures" for item, _ in fresh)
    )
    assert plain(looked(root, tmp_path / "index", catalogue)) == fresh
    read = count_reads(monkeypatch)
    assert plain(looked(root, tmp_path / "index", catalogue)) == fresh
    assert read == []


def whole(root: Path, catalogue: Catalogue) -> list[Any]:
    """What the readers say of the whole tree at once, as the index would write it."""
    items = decode(encode([nameless(item) for item in scan(root, catalogue)], root), root)
    return plain(sorted(items, key=lambda item: (str(item.path), item.series or "", str(item.files[0]))))


def test_it_is_what_the_readers_say_of_the_whole_tree(catalogue: Catalogue, tmp_path: Path) -> None:
    root = forest(tmp_path / "tree")
    assert plain(looked(root, tmp_path / "index", catalogue)) == whole(root, catalogue)


def add(root: Path) -> None:
    series(root / "p9/new")


def add_to_a_series(root: Path) -> None:
    extra = series(root.parent / "elsewhere", 5, SeriesInstanceUID="1.2.1")
    extra[4].rename(root / "flat/extra.dcm")


def remove_a_slice(root: Path) -> None:
    (root / "p0/s/0001.dcm").unlink()


def remove_a_folder(root: Path) -> None:
    for file in (root / "p0/s").iterdir():
        file.unlink()
    (root / "p0/s").rmdir()


def change_a_byte(root: Path) -> None:
    """Change what a header says, and put size and times back as well as anyone can."""
    file = root / "p0/s/0000.dcm"
    status = file.stat()
    file.write_bytes(file.read_bytes().replace(b"P0", b"P7"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap_two(root: Path) -> None:
    one, other = root / "p0/s/0001.dcm", root / "p1/s/0001.dcm"
    one.rename(root / "aside")
    other.rename(one)
    (root / "aside").rename(other)


def unite_two_folders(root: Path) -> None:
    """A slice of one series turns up in the folder of another."""
    (root / "p0/s/0003.dcm").rename(root / "p1/s/stray.dcm")


def part_two_folders(root: Path) -> None:
    for file in (root / "spread/two").iterdir():
        file.rename(root / "spread/one" / file.name)


@pytest.mark.parametrize(
    "change",
    [
        add,
        add_to_a_series,
        remove_a_slice,
        remove_a_folder,
        change_a_byte,
        swap_two,
        unite_two_folders,
        part_two_folders,
    ],
)
def test_what_changes_on_the_disk_is_noticed(
    catalogue: Catalogue, tmp_path: Path, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, place = forest(tmp_path / "tree"), tmp_path / "index"
    before = plain(looked(root, place, catalogue))
    change(root)
    read = count_reads(monkeypatch)
    after = plain(looked(root, place, catalogue))
    assert 0 <= len(read) < 25, "only what has changed is read again"
    assert after != before and after == plain(looked(root, None, catalogue))


def test_many_random_changes_leave_it_right(catalogue: Catalogue, tmp_path: Path) -> None:
    root, place = forest(tmp_path / "tree"), tmp_path / "index"
    dice = random.Random(7)
    for step in range(40):
        files = sorted(file for file in root.rglob("*") if file.is_file())
        folders = sorted({file.parent for file in files})
        file, folder = dice.choice(files), dice.choice(folders)
        match dice.randrange(4):
            case 0:
                file.rename(folder / f"moved-{step}.dcm")
            case 1:
                (folder / f"IM{step:04d}").write_bytes(file.read_bytes())
            case 2:
                file.write_bytes(file.read_bytes()[: dice.choice((60, 400, 1500))])
            case 3:
                file.unlink()
        assert plain(looked(root, place, catalogue)) == whole(root, catalogue), f"after step {step}"


def test_young_files_are_read_and_not_remembered(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "YOUNG", 3600.0)
    root = forest(tmp_path / "tree")
    first = plain(looked(root, tmp_path / "index", catalogue))
    read = count_reads(monkeypatch)
    assert plain(looked(root, tmp_path / "index", catalogue)) == first and len(read) > 20


def test_what_other_code_found_is_not_used(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = forest(tmp_path / "tree")
    looked(root, tmp_path / "index", catalogue)
    monkeypatch.setattr(index, "source_hash", lambda *module: "another")
    read = count_reads(monkeypatch)
    looked(root, tmp_path / "index", catalogue)
    assert len(read) > 20


def test_it_is_for_its_user_alone_and_names_no_patient(catalogue: Catalogue, tmp_path: Path) -> None:
    root = forest(tmp_path / "tree")
    looked(root, tmp_path / "deep/index", catalogue)
    assert (tmp_path / "deep/index").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700
    content = b"".join(file.read_bytes() for file in (tmp_path / "deep").iterdir())
    assert b"1.2.3" in content and b"MRN-12345" not in content and b"Test^Case" not in content


_KILLED = """
import os, signal, sys
from pathlib import Path
import voxgraft_dicom.layout.index as index
from voxgraft.discovery import discover
from voxgraft.support.progress import Progress
from voxgraft_dicom.layout.index import Tree, images_in, readers_hash
from voxgraft_dicom.layout.store import Store
index.YOUNG, index.BATCH = -1e9, 10
scan, left = index.scan_files, [int(sys.argv[3])]
def mortal(files, catalogue, **options):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return scan(files, catalogue, **options)
index.scan_files = mortal
catalogue = discover()
store = Store(Path(sys.argv[2]), sys.argv[1], readers_hash(catalogue))
images_in(Tree(Path(sys.argv[1])), catalogue, store, Progress(quiet=True))
"""


def test_a_killed_indexing_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_path: dict[str, str]
) -> None:
    root, place = tmp_path / "tree", tmp_path / "index"
    for number in range(12):
        series(root / f"s{number:02d}", 5)
    command = [sys.executable, "-c", _KILLED, str(root), str(place), "9"]
    assert subprocess.run(command, env=repo_path, check=False).returncode == -signal.SIGKILL
    read, catalogue = count_reads(monkeypatch), discover()
    found = plain(looked(root, place, catalogue))
    assert 0 < len(read) < 40, "most of the 60 files had been read before"
    assert found == plain(looked(root, None, catalogue))


def _index(root: str, place: str) -> int:
    index.YOUNG = -1e9
    return len(looked(Path(root), Path(place), discover()))


def test_several_processes_may_index_one_tree_at_once(catalogue: Catalogue, tmp_path: Path) -> None:
    root, place = forest(tmp_path / "tree"), tmp_path / "index"
    with get_context("spawn").Pool(3) as pool:
        counts = pool.starmap(_index, [(str(root), str(place))] * 6)
    assert set(counts) == {9}
    assert plain(looked(root, place, catalogue)) == plain(looked(root, None, catalogue))


def layout(catalogue: Catalogue, path: Path, **options: Any) -> Dataset:
    found: Dataset = read_layout(choose(catalogue, "layout", {"use": "dicom", "path": path, **options}), catalogue)
    return found


def test_a_damaged_index_is_made_anew_and_a_foreign_file_left_alone(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = forest(tmp_path / "tree")
    (tmp_path / "mine.txt").write_text("precious " * 200)
    with pytest.raises(DataError, match=r"mine\.txt cannot hold the index"):
        layout(catalogue, root, index=tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text().startswith("precious")
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE precious (x)")
    with pytest.raises(DataError, match="something else"):
        layout(catalogue, root, index=tmp_path / "other.sqlite")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("voxgraft_dicom.layout.headers.LARGE", 1)
    first = layout(catalogue, root)
    (place,) = Path(".voxgraft").glob("*.sqlite")
    for leftover in Path(".voxgraft").iterdir():
        leftover.write_bytes(b"no database at all " * 100)
    assert layout(catalogue, root) == first
    assert place.read_bytes().startswith(b"SQLite")


def test_no_index_is_put_into_the_tree_or_made_for_small_ones(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = forest(tmp_path / "tree")
    monkeypatch.chdir(tmp_path)
    layout(catalogue, root)
    assert not Path(".voxgraft").exists()
    monkeypatch.setattr("voxgraft_dicom.layout.headers.LARGE", 1)
    layout(catalogue, root, index="off")
    monkeypatch.chdir(root)
    layout(catalogue, root)
    assert not Path(".voxgraft").exists() and not (tmp_path / ".voxgraft").exists()
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".voxgraft").write_text("in the way")
    found = layout(catalogue, root)
    assert any("no index could be kept" in note for note in found.notes)


def test_records_that_are_none_are_read_anew(catalogue: Catalogue, tmp_path: Path) -> None:
    root, place = forest(tmp_path / "tree"), tmp_path / "index"
    right = plain(looked(root, place, catalogue))
    for rubbish in ("[]x", "[{}]", '["a"]', "null"):
        with sqlite3.connect(place) as connection:
            connection.execute("UPDATE folders SET items = ? WHERE folder LIKE 'p%'", (rubbish,))
        connection.close()
        assert plain(looked(root, place, catalogue)) == right


def test_names_of_folders_may_hold_any_bytes(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = forest(tmp_path / "tree")
    (root / "p0").rename(os.fsdecode(os.fsencode(root) + b"/M\xfcller"))
    fresh = plain(looked(root, None, catalogue))
    assert plain(looked(root, tmp_path / "index", catalogue)) == fresh
    read = count_reads(monkeypatch)
    assert plain(looked(root, tmp_path / "index", catalogue)) == fresh and read == []


def test_a_file_that_goes_while_the_tree_is_walked_is_no_error(catalogue: Catalogue, tmp_path: Path) -> None:
    root = forest(tmp_path / "tree")
    tree = Tree(root)
    (root / "p0/s/0001.dcm").unlink()
    started = time.monotonic()
    found = images_in(tree, catalogue, None, QUIET)
    assert len(found) == 9 and time.monotonic() - started < 20


@pytest.mark.parametrize("changed", ["own_reader/__init__.py", "own_reader/rows.py", "beside/__init__.py"])
def test_what_other_code_of_a_reader_found_is_not_used(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"own_reader/__init__.py": "from beside import places", "own_reader/rows.py": "", "beside/__init__.py": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    spec: ReaderSpec[Any] = ReaderSpec(name="own", summary="", suffixes=(".own",), build=pytest.fail)

    def found_in_a_call() -> str:
        catalogue = Catalogue(_origins={"own": Origin("own", "own_reader", "own-reader", "1.0")})
        catalogue.add("own", spec)
        return readers_hash(catalogue)

    first = found_in_a_call()
    assert found_in_a_call() == first
    (tmp_path / changed).write_text(f"{files[changed]}\nplaces = 3\n")
    assert found_in_a_call() != first


def test_the_index_has_no_accession_numbers(tmp_path: Path) -> None:
    item = Item(tmp_path / "s", "dicom", (2, 2, 2), np.eye(4), archive={"accession": "ACC-77"})
    assert "ACC-77" not in encode([nameless(item)], tmp_path)
