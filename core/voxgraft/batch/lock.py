"""One process at a time works in a batch's folder; the kernel frees it when that process ends, however it ends."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import DataError

LOCK = ".lock"


@contextmanager
def sole_owner(folder: Path) -> Iterator[bool]:
    """Hold a batch's folder; gives False where the file system has no locks, so that the caller can say so.

    Raises:
        DataError: Another process works there, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to: {error.strerror or error}") from error
    try:
        locked = _lock(handle)
        if locked is None:
            raise DataError(
                f"{folder}: another voxgraft is segmenting into this folder{_holder(folder)}; "
                "wait until it has ended, or choose another folder with --out"
            )
        _sign(handle)
        yield locked
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """True: held. None: another process holds it. False: locks are not to be had here."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def _sign(handle: int) -> None:
    """Leave word of who holds the folder, for the message of a second process."""
    text = json.dumps({"process": os.getpid(), "machine": platform.node()})
    with suppress(OSError):  # a full disk: the lock holds without the word
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / LOCK).read_text())
        return f" (process {int(holder['process'])} on {holder['machine']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
