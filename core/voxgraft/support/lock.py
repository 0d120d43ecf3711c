"""Locks that end with the process that holds them, whatever host or container it runs in; and what processes that have
ended left half-made.

No name or process id decides whether somebody is at work: the lock of the file system does, which hosts and containers
that share the file system share too.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..errors import DataError, VoxGraftError

LOCK = ".lock"
HELD, BUSY, NONE = "held", "busy", "none"
"""What comes of asking for a lock: it is ours, another process has it, or this file system has no locks."""

TEMPORARY = ".tmp"
REPLACED = ".tmp.replaced"
"""How a folder is called between being replaced and being removed."""

FOREIGN = 24 * 3600.0
"""Seconds after which something half-made without a lock is taken for left behind: older VoxGraft, or no locks here."""


@contextmanager
def locked(path: Path) -> Iterator[str]:
    """Ask once for the lock that a file stands for; gives `HELD`, `BUSY` or `NONE`. The file stays where it is.

    Raises:
        OSError: The file cannot be made or opened.
    """
    import filelock  # costs some milliseconds, and most commands lock nothing

    lock = filelock.FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield BUSY
        return
    except (OSError, NotImplementedError):
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise
        yield NONE
        return
    try:
        yield HELD
    finally:
        lock.release()


@contextmanager
def sole_owner(folder: Path, work: str, error: Callable[[str], VoxGraftError] = DataError) -> Iterator[bool]:
    """Hold a folder; gives False where the file system has no locks, so that the caller can say so.

    Args:
        work: What is done there, for the message of a second process: `segmenting into`.
        error: What is raised.

    Raises:
        DataError: Or `error`: another process works there, or the folder cannot be written to.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as reason:
        raise error(f"{folder}: cannot be written to: {reason.strerror or reason}; name another folder") from reason
    with locked(path) as state:
        if state == BUSY:
            raise error(
                f"{folder}: another voxgraft is {work} this folder{_holder(path)}; "
                "wait until it has ended, or choose another folder with --out"
            )
        _sign(path)
        yield state == HELD


def _sign(path: Path) -> None:
    """Leave word of who holds the folder, for the message of a second process."""
    with suppress(OSError):  # a full disk: the lock holds without the word
        path.write_text(json.dumps({"process": os.getpid(), "machine": platform.node()}), encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f" (process {int(holder['process'])} on {holder['machine']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextmanager
def temporary(target: Path, keep: bool = False) -> Iterator[Path]:
    """Give a path beside `target` that nobody else has; whatever is there at the end is removed.

    A lock beside it tells `sweep`, on whatever host, that somebody is still at work on it.

    Args:
        keep: What is there at the end stays, unless that was an error.
    """
    token = secrets.token_hex(5)
    path, lock = target.with_name(f"{TEMPORARY}-{token}-{target.name}"), _lock_of(target.parent, token)
    try:
        with ExitStack() as stack:
            with suppress(OSError):  # where no lock can be made, writing will say why
                stack.enter_context(locked(lock))
            yield path
    except BaseException:
        remove(path)
        raise
    finally:
        if not keep:
            remove(path)
        remove(lock)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def sweep(folder: Path, *names: str, owned: bool = False) -> None:
    """Remove what processes that have ended left half-made in a folder, and put back what they were replacing.

    What another process is making, here or on another host, is left alone: it holds a lock. What has no lock at all is
    left alone for a day.

    Args:
        names: Only what was to become one of these files or folders, and nothing that was being replaced.
        owned: Nobody else works here; what has no lock is not waited for.
    """
    temporaries: dict[str, list[Path]] = {}
    wanted = frozenset(names)
    with suppress(OSError):
        for path in folder.glob(f"{TEMPORARY}*"):
            if match := _LEFT.fullmatch(path.name):
                temporaries.setdefault(match["token"], []).append(path)
    for token, paths in temporaries.items():
        if not wanted or any(path.name.removeprefix(f"{TEMPORARY}-{token}-") in wanted for path in paths):
            _clear(folder, token, paths, owned)


def sweep_tree(folder: Path, *, owned: bool = False, skip: Collection[str] = ()) -> None:
    """Sweep a folder and all below it.

    Args:
        folder: Where to start.
        owned: Nobody else writes there, so that all that was left behind is removed, however new.
        skip: Names of folders directly in it that are left alone.
    """
    for root, folders, _ in os.walk(folder):
        sweep(Path(root), owned=owned)
        left = skip if Path(root) == folder else ()
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY) and name not in left]


_LEFT = re.compile(rf"{re.escape(TEMPORARY)}(\.replaced)?-(?P<token>[0-9a-f]+)(-.*|\.lock)", re.DOTALL)


def _lock_of(folder: Path, token: str) -> Path:
    return folder / f"{TEMPORARY}-{token}.lock"


def _clear(folder: Path, token: str, paths: Iterable[Path], owned: bool) -> None:
    """Remove what one process left, where its lock is free; without a lock, where all of it is old or `owned`.

    On a file system without locks the file of a lock says nothing of whether its process is still there.
    """
    lock = _lock_of(folder, token)
    with suppress(OSError), ExitStack() as stack:
        state = stack.enter_context(locked(lock)) if lock.exists() else NONE
        if state == BUSY:
            return
        if not owned and state == NONE and any(time.time() - path.lstat().st_mtime < FOREIGN for path in paths):
            return
        for path in paths:
            target = folder / path.name.removeprefix(f"{REPLACED}-{token}-")
            if path.name.startswith(REPLACED) and not target.exists():
                path.rename(target)
            else:
                remove(path)


def replaced(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Folders that were being replaced when a process ended, each with the path that it had."""
    for old in folder.glob(f"{REPLACED}-*"):
        yield old, folder / old.name.removeprefix(f"{REPLACED}-").split("-", 1)[-1]
