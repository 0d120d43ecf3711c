"""Who is at work is decided by locks: two containers share a cache, a killed process leaves nothing for long."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from voxgraft.errors import DataError
from voxgraft.support.files import atomic_write
from voxgraft.support.lock import BUSY, FOREIGN, HELD, NONE, locked, sole_owner, sweep, sweep_tree

AT_WORK = """
import sys, time
from pathlib import Path
from voxgraft.support.files import atomic_write
with atomic_write(Path(sys.argv[1])) as beside:
    beside.mkdir()
    (beside / "half.npy").write_bytes(b"x" * 1000)
    print("at work", flush=True)
    time.sleep(float(sys.argv[2]))
    (beside / "half.npy").write_bytes(b"x" * 2000)
"""


@contextmanager
def at_work(target: Path, env: dict[str, str], *before: str, seconds: float = 60) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is writing a folder."""
    command = [*before, sys.executable, "-c", AT_WORK, str(target), str(seconds)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"at work\n"
        yield child
    finally:
        child.kill()
        child.wait()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".tmp*"))


def test_what_a_killed_process_left_is_swept_and_what_another_makes_stays(
    tmp_path: Path, repo_path: dict[str, str]
) -> None:
    with at_work(tmp_path / "a", repo_path) as dying, at_work(tmp_path / "b", repo_path):
        os.kill(dying.pid, signal.SIGKILL)
        dying.wait()
        assert len(left(tmp_path)) == 4
        sweep(tmp_path)
        assert [name.split("-")[-1] for name in left(tmp_path) if not name.endswith(".lock")] == ["b"]
    with atomic_write(tmp_path / "b") as beside:  # the next call that makes the same finds it too
        beside.mkdir()
    assert left(tmp_path) == []


def test_a_container_with_process_ids_of_its_own_is_left_alone(tmp_path: Path, repo_path: dict[str, str]) -> None:
    inside = ("unshare", "-p", "-f", "--mount-proc")
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of processes can be made here")
    with at_work(tmp_path / "a", repo_path, *inside, seconds=1.5) as other:
        sweep(tmp_path)
        assert other.wait(timeout=30) == 0
    assert (tmp_path / "a" / "half.npy").stat().st_size == 2000 and left(tmp_path) == []


def test_without_a_lock_age_decides(tmp_path: Path) -> None:
    old, young = tmp_path / ".tmp-12345-a.npy", tmp_path / ".tmp-678-b.npy"
    for path in (old, young):
        np.save(path, np.zeros(3))
    os.utime(old, (time.time() - FOREIGN - 60,) * 2)
    sweep_tree(tmp_path.parent)
    assert not old.exists() and young.exists()


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_on_a_file_system_without_locks_age_decides(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock") as state:
        assert state == NONE
    with atomic_write(tmp_path / "a") as mine:
        mine.mkdir()
        with atomic_write(tmp_path / "a", first=True) as other:  # sweeps what was to become the same
            other.mkdir()
        sweep_tree(tmp_path)
        assert mine.is_dir()
        for path in tmp_path.glob(".tmp*"):
            os.utime(path, (time.time() - FOREIGN - 60,) * 2)
        sweep(tmp_path)
        assert left(tmp_path) == []
        mine.mkdir()


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".tmp.replaced-ab12-package").mkdir()
    (tmp_path / ".tmp-ab12-package").mkdir()
    (tmp_path / ".tmp-ab12.lock").touch()
    sweep_tree(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["package"]
    (tmp_path / ".tmp.replaced-ab12-package").mkdir()
    (tmp_path / ".tmp-ab12.lock").touch()
    sweep_tree(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_of_two_who_make_the_same_the_first_stays(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a", first=True) as mine:
        mine.mkdir()
        with atomic_write(tmp_path / "a", first=True) as other:
            other.mkdir()
            (other / "first").touch()
        (mine / "second").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["first"] and left(tmp_path) == []


def test_one_holds_a_folder_and_the_second_is_told_who(tmp_path: Path) -> None:
    with sole_owner(tmp_path, "running in") as there:
        assert there
        message = rf"another voxgraft is running in this folder \(process {os.getpid()} on "
        for _ in range(2):
            with pytest.raises(DataError, match=message), sole_owner(tmp_path, "running in"):
                pytest.fail("two hold one folder")
    with locked(tmp_path / ".lock") as one, locked(tmp_path / ".lock") as two:
        assert (one, two) == (HELD, BUSY)
