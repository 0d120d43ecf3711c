"""The audit log of a review: JSON lines that are only ever appended, each with the SHA-256 of the line before.

A line is on the disk before anybody is told that it is written. A process that is killed while it writes leaves at most
a last line without its end, which nobody was told of: it is set aside. A line that does not carry the hash of the one
before was changed, or one was taken out: it is told with its number, and reading goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...support.files import json_text
from ...support.texts import counted

AUDIT = "audit.jsonl"
TOLD = 3
"""Faults that are told one by one: a log whose line ends were changed has one in each line."""
START = "0" * 64
"""What stands for the line before the first."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a log.

    Attributes:
        line: Its number, from 1 on.
        message: One sentence.
    """

    line: int
    message: str


@dataclass(slots=True)
class Read:
    """A log as it was read.

    Attributes:
        entries: The lines that can be understood, in their order.
        head: The hash of the last line.
        lines: How many whole lines there are.
        torn: Bytes behind the last whole line.
    """

    entries: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    head: str = START
    lines: int = 0
    torn: bytes = b""


def read_log(path: Path) -> Read:
    """Read a log and check its chain; one that is not there is empty.

    Raises:
        DataError: It cannot be read.
    """
    read = Read()
    try:
        with path.open("rb") as file:
            for raw in file:
                if raw.endswith(b"\n"):
                    _take(read, raw[:-1])
                else:
                    read.torn = raw
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return read


def _take(read: Read, line: bytes) -> None:
    read.lines += 1
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
            raise ValueError
    except (ValueError, RecursionError):
        read.faults.append(Fault(read.lines, "it is not a line of an audit log"))
    else:
        if entry.get("before") != read.head:
            text = "it does not carry the hash of the line before: a line was changed, taken out or put in"
            read.faults.append(Fault(read.lines, text))
        read.entries.append(entry)
    read.head = hash_of(line)


def hash_of(line: bytes) -> str:
    """The SHA-256 of a line without its end."""
    return hashlib.sha256(line).hexdigest()


class AuditLog:
    """The log, open for one process that writes; its methods may be called from several threads.

    Raises:
        DataError: It cannot be read or written.
    """

    def __init__(self, folder: Path, writable: bool = True) -> None:
        self.path = folder / AUDIT
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._failed = ""
        read = read_log(self.path)
        self.entries, self.faults = read.entries, read.faults
        self.told: list[str] = [f"{AUDIT}: line {fault.line}: {fault.message}" for fault in read.faults[:TOLD]]
        if (more := len(read.faults) - TOLD) > 0:
            self.told.append(f"{AUDIT}: {counted(more, 'more line')} like that; --summary --json lists all of them")
        self._head, self._lines = read.head, read.lines
        if writable:
            self._open(read.torn)

    def _open(self, torn: bytes) -> None:
        try:
            if torn:
                self._set_aside(torn)
            new = not self.path.exists()
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            if new:
                settle(self.path.parent)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def _set_aside(self, torn: bytes) -> None:
        """Move what a killed process left of a line out of the log."""
        aside = self.path.with_name(f"audit.torn-{hashlib.sha256(torn).hexdigest()[:12]}")
        aside.write_bytes(torn)
        with self.path.open("rb+") as file:
            file.truncate(self.path.stat().st_size - len(torn))
            os.fsync(file.fileno())
        self.told.append(
            f"{AUDIT}: the last line was not whole (a process was killed while it wrote); it is set aside as "
            f"{aside.name}, and nobody had been told that it was saved"
        )

    @property
    def lines(self) -> int:
        return self._lines

    def append(self, kind: str, values: Mapping[str, Any], keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Write a line; it is on the disk when this returns.

        Args:
            kind: What it says.
            values: Plain values.
            keep: Is given the entry once it is on the disk, before any other line can be written.

        Raises:
            DataError: It could not be written; the log is as it was before.
        """
        with self._mutex:
            if self._descriptor is None:
                raise DataError(f"{self.path}: is read-only here; decisions cannot be saved")
            if self._failed:
                raise DataError(self._failed)
            entry = {"n": self._lines + 1, "before": self._head, "when": now(), "kind": kind, **values}
            line = json_text(entry, indent=None).encode()
            self._write(line + b"\n")
            self._head, self._lines = hash_of(line), self._lines + 1
            keep(entry)
            return entry

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):
                raise OSError(28, "no space is left on the disk")
            os.fsync(self._descriptor)
        except OSError as error:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:
                self._failed = f"{self.path}: its last line is half written; stop this server and start it again"
            raise DataError(
                f"{self.path}: cannot be written: {error.strerror or error}; the decision was not saved; make "
                "sure that the disk has space and try again"
            ) from error

    def close(self) -> None:
        with self._mutex:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def settle(folder: Path) -> None:
    """Wait until a folder's own entries are on the disk, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
