"""Locks that end with the process that holds them, whatever host or container it runs in.

No name or process id decides whether somebody is at work: the lock of the file system does, which hosts and containers
that share the file system share too.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import DataError, VoxGraftError

LOCK = ".lock"
HELD, BUSY, NONE = "held", "busy", "none"
"""What comes of asking for a lock: it is ours, another process has it, or this file system has no locks."""


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
