"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from voxgraft.errors import DataError
from voxgraft.support.files import atomic_write, digest, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path) -> None:
    target = tmp_path / "new" / "a.nii.gz"
    with atomic_write(target) as beside:
        beside.write_text("half")
        assert not target.exists() and beside.name.endswith("a.nii.gz")
    assert target.read_text() == "half" and names(target.parent) == ["a.nii.gz"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as beside:
        beside.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_the_one_that_was_there(tmp_path) -> None:
    target = tmp_path / "folder"
    for text in ("one", "two"):
        with atomic_write(target) as beside:
            beside.mkdir()
            (beside / text).write_text(text)
    assert names(target) == ["two"] and names(tmp_path) == ["folder"]


def test_a_full_disk_is_said_in_a_sentence(tmp_path) -> None:
    with (
        pytest.raises(DataError, match=r"a\.txt: cannot be written: No space left"),
        atomic_write(tmp_path / "a.txt") as beside,
    ):
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_full_disk_is_said_whatever_a_library_calls_it(tmp_path, monkeypatch) -> None:
    """NumPy, torch and safetensors have errors of their own for it, without the system's number."""
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    for error in (OSError("2254560 requested and 423904 written"), RuntimeError("PytorchStreamWriter failed")):
        told = r"a\.txt: cannot be written: no space is left on the disk; make room"
        with pytest.raises(DataError, match=told), atomic_write(tmp_path / "a.txt") as beside:
            beside.write_text("half")
            raise error
        assert names(tmp_path) == []


def test_another_failure_of_a_library_stays_its_own(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="its own"), atomic_write(tmp_path / "a.txt"):
        raise RuntimeError("its own")


def test_a_real_full_disk_leaves_nothing(tmp_path) -> None:
    """/dev/full answers every write as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(DataError, match="No space left"),
        atomic_write(tmp_path / "a.txt"),
        Path("/dev/full").open("w") as file,
    ):
        file.write("x" * 100_000)
    assert names(tmp_path) == []


def test_a_place_that_may_not_be_written_is_said_in_a_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_json(tmp_path / "file" / "below.json", {})


def test_json_holds_null_where_a_number_is_not_defined(tmp_path) -> None:
    """Python's and NumPy's, in lists and tuples; other parsers refuse a file with the word NaN."""
    document = {"a": math.nan, "b": [math.inf, 1.5, (-math.inf,)], "c": np.float64("nan"), "d": np.array([1.0, np.nan])}
    write_json(tmp_path / "a.json", document | {"e": np.float32("inf")})

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert found == {"a": None, "b": [None, 1.5, [None]], "c": None, "d": [1.0, None], "e": None}


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2.5, "x"]}) == digest({"b": [2.5, "x"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
