"""Files that appear whole or not at all, their fingerprints, and documents that are bounded before they are read."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError, VoxGraftError
from .lock import REPLACED, TEMPORARY, remove, sweep, temporary
from .texts import encodable

LARGEST_TEXT = 64 * 2**20
"""Bytes of the longest table or JSON document that is read."""
MOST_VALUES = 5_000_000
"""Values of the largest such document that is read: in memory each takes up to a hundred times its bytes."""
CELLS = (b",", b";", b"\t", b"\n")
"""What stands between the cells of a table."""


@contextmanager
def atomic_write(target: Path, *, first: bool = False) -> Iterator[Path]:
    """Give a path beside `target` to write to; on success it becomes `target`, on failure it is removed.

    The temporary name keeps the ending of the target, for libraries that choose a format by it. Files and folders are
    both fine; a folder replaces the one that was there.

    Args:
        first: Where another process has made the target meanwhile, that one stays.

    Raises:
        DataError: The disk is full, or the folder may not be written.
    """
    with _plainly(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, target.name)
        with temporary(target) as path:
            yield path
            _settle(path)
            if not (first and target.exists()):
                _replace(path, target, remove)


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to; on success it stays there for `put_in_place`, on failure it is removed.

    Its temporary name lets `sweep` remove what nobody puts in place; while it is written, a lock keeps it.

    Raises:
        DataError: The disk is full, or the folder may not be written.
    """
    with _plainly(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary(target, keep=True) as path:
            yield path
            _settle(path)


def put_in_place(path: Path, target: Path, discard: Callable[[Path], object]) -> None:
    """Let what was staged become `target`, whole or not at all; on failure it is removed.

    Args:
        path: What `staged` gave.
        target: A file or folder in the same folder.
        discard: What becomes of a folder that was replaced.

    Raises:
        DataError: See `staged`.
    """
    with _plainly(target):
        try:
            _replace(path, target, discard)
        except BaseException:
            remove(path)
            raise


@contextmanager
def _plainly(target: Path) -> Iterator[None]:
    """Errors of the disk as a sentence that names the target."""
    try:
        yield
    except VoxGraftError:
        raise
    except Exception as error:  # libraries have errors of their own for a disk that is full
        if is_full(target.parent):
            raise DataError(f"{target}: cannot be written: no space is left on the disk; make room there") from error
        if not isinstance(error, OSError) or (error.errno not in _DISK and not _concerns(error, target.parent)):
            raise
        blocked = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = "a file has the name of its folder" if blocked else error.strerror or error
        raise DataError(f"{target}: cannot be written: {reason}") from error


def write_json(target: Path, document: Any, *, private: bool = False) -> None:
    """Write one JSON document, whole or not at all.

    Args:
        target: Where it will be.
        document: See `json_text`.
        private: Only its owner may read it; see `write_text`.
    """
    write_text(target, json_text(document) + "\n", private=private)


def json_text(document: Any, indent: int | None = 2) -> str:
    """A document as JSON (RFC 8259), which has no NaN and no infinity: a number that is not defined is null."""
    return json.dumps(
        without_nan(document),
        indent=indent,
        ensure_ascii=False,
        allow_nan=False,
        default=lambda value: without_nan(_plain(value)),
    )


def without_nan(document: Any) -> Any:
    """The same plain values with None for each number that is not finite, and texts that UTF-8 can hold."""
    if isinstance(document, str):
        return encodable(document)
    if isinstance(document, dict):
        return {encodable(key) if isinstance(key, str) else key: without_nan(part) for key, part in document.items()}
    if isinstance(document, (list, tuple)):
        return [without_nan(part) for part in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def write_text(target: Path, text: str, *, private: bool = False) -> None:
    """Write a text file, whole or not at all.

    Args:
        target: Where it will be.
        text: What UTF-8 cannot hold is written as an escape.
        private: Only its owner may read it, from the first byte on.
    """
    with atomic_write(target) as path:
        if private:
            path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def check_regular(path: Path) -> None:
    """Refuse what is neither a file nor a folder: opening a pipe waits for a writer, and a device has no end.

    Raises:
        OSError: It is such a thing, or cannot be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "it is not a regular file, but a pipe, a socket or a device", str(path))


def read_bytes(path: Path, most: int = LARGEST_TEXT, marks: tuple[bytes, ...] = ()) -> bytes:
    """What a regular file holds, if that is not more than so many bytes.

    Args:
        marks: What stands between values; more than `MOST_VALUES` of them are refused.

    Raises:
        OSError: It is larger, is not a regular file, or cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than the {most} bytes of any such file", str(path))
    if sum(map(data.count, marks)) > MOST_VALUES:
        raise OSError(errno.EFBIG, f"it holds more than the {MOST_VALUES} values of any such file", str(path))
    return data


def read_json(path: Path, most: int = LARGEST_TEXT) -> Any:
    """One JSON document, bounded in bytes, values and depth before it is built; no key may stand twice in an object.

    Raises:
        OSError: See `read_bytes`.
        ValueError: It is no such document, as json.JSONDecodeError where a place can be named.
    """
    data = read_bytes(path, most, (b",", b"[", b"{"))
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice!r} appears twice")
    return document


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(document: Any) -> str:
    """A fingerprint of plain values: equal values give equal fingerprints on every machine."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not a plain value")


_DISK = {28, 122, 27, 30}  # ENOSPC, EDQUOT, EFBIG, EROFS
_ROOM = 2**20
"""Bytes: where fewer are free, what failed to be written failed for that."""


def is_full(folder: Path) -> bool:
    """Whether next to nothing can be written to a folder's disk."""
    try:
        return shutil.disk_usage(folder).free < _ROOM
    except OSError:
        return False


def _concerns(error: OSError, folder: Path) -> bool:
    return error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(folder)


def _settle(path: Path) -> None:
    """Wait until the bytes are on the disk, so that a power cut cannot leave an empty file under the final name."""
    for part in path.rglob("*") if path.is_dir() else (path,):
        if part.is_file():
            with part.open("rb") as file:
                os.fsync(file.fileno())


def _replace(temporary: Path, target: Path, discard: Callable[[Path], object]) -> None:
    if not temporary.is_dir():
        temporary.replace(target)
        return
    old = target.with_name(temporary.name.replace(TEMPORARY, REPLACED, 1))
    for last in (False, False, False, True):
        try:
            if target.exists():
                target.rename(old)
            temporary.rename(target)
            break
        except OSError as error:  # another process has replaced the same folder between the two lines
            if last or error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST) or not temporary.exists():
                raise
    if old.exists():
        discard(old)


State = list[int]
"""Of a file: size, time of change, time of the inode's change, inode. Writing into a file changes the third, which
nobody can set."""


def state_of(file: Path) -> State:
    """The state of a file; empty where there is none."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
