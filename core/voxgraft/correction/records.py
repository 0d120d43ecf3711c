"""The file of a journal: records that are only ever appended, each bound by its checksum to the one before.

A record is its mark, the size of its content, a checksum of these two, the SHA-256 of the record before it joined with
its content, and the content: one line of JSON, and for a change its bytes. A process that is killed leaves at most one
record unfinished, at the end of the file; what is wrong anywhere else is damage and is told.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DataError
from ..support.files import atomic_write, check_regular

LARGEST_RECORD = 256 * 2**20
"""Bytes of the longest content of a record."""
LARGEST_FILE = 2 * 2**30
"""Bytes of the longest file of records."""
LONGEST_LINE = 4096
"""Bytes of the longest line of JSON."""

_MARK = b"VGJ1"
_HEAD = struct.Struct("<4sII32s")
_ORIGIN = bytes(32)
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class Record:
    """Where one record stands in the file.

    Attributes:
        line: What its JSON says.
        start: The byte at which its content begins.
        size: Bytes of its content.
        line_size: How many of them are the line of JSON, its end included.
        before: The SHA-256 that the record before it has.
        digest: Its own SHA-256.
    """

    line: dict[str, Any]
    start: int
    size: int
    line_size: int
    before: bytes
    digest: bytes


class RecordFile:
    """An open file of records; the caller sees to it that nobody else writes to it.

    Attributes:
        path: The file; it is made where it is missing.
        records: Every record, in the order of the file.
        set_aside: Where the unfinished record of a process that was killed lies now; None where there was none.

    Raises:
        DataError: The file is damaged, too large, or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self.set_aside: Path | None = None
        self._end = 0
        try:
            new = not path.exists()
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
            try:
                check_regular(path)
                if new:
                    _settle_folder(path.parent)
                self._load()
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise DataError(f"{path}: the journal cannot be opened: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file; it is closed once."""
        os.close(self._file)

    def append(self, line: dict[str, Any], data: bytes = b"") -> Record:
        """Append a record and wait until it is on the disk.

        Args:
            line: Plain values that say what the record is.
            data: Bytes that belong to it.

        Raises:
            DataError: It is too large, or the disk is full; the file is as it was.
        """
        text = json.dumps(line, ensure_ascii=True).encode() + b"\n"
        size = len(text) + len(data)
        if len(text) > LONGEST_LINE or size > LARGEST_RECORD:
            raise DataError(f"{self.path}: a change of {size} bytes is too large for the journal")
        if self._end + _HEAD.size + size > LARGEST_FILE:
            raise DataError(f"{self.path}: the journal is full; save the mask and move the journal's folder away")
        before = self.records[-1].digest if self.records else _ORIGIN
        digest = hashlib.sha256(b"".join((before, text, data))).digest()
        self._write(b"".join((_head(size, digest), text, data)))
        record = Record(line, self._end + _HEAD.size, size, len(text), before, digest)
        self.records.append(record)
        self._end += _HEAD.size + size
        return record

    def read(self, record: Record) -> bytes:
        """The bytes that belong to a record, checked once more.

        Raises:
            DataError: They are not what was written.
        """
        try:
            content = self._bytes(record.start, record.size)
        except OSError as error:
            raise DataError(f"{self.path}: the journal cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(record.before + content).digest() != record.digest:
            raise self._damaged(self.records.index(record))
        return content[record.line_size :]

    def _bytes(self, start: int, size: int) -> bytes:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(start)
            return file.read(size)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):  # where even this fails, the next who opens the file sets the rest aside
                os.ftruncate(self._file, self._end)
            raise DataError(f"{self.path}: the change cannot be recorded: {error.strerror or error}") from error

    def _load(self) -> None:
        size = os.fstat(self._file).st_size
        if size > LARGEST_FILE:
            raise DataError(f"{self.path}: is larger than any journal; move its folder away")
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            for record in self._scan(file, size):
                self.records.append(record)
                self._end = record.start + record.size
        if self._end < size:
            self._cut_off(size)

    def _scan(self, file: BinaryIO, size: int) -> Iterator[Record]:
        """Records up to the end, or up to one that a killed process left unfinished."""
        before, place = _ORIGIN, 0
        while place < size:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            mark, length, check, digest = _HEAD.unpack(head)
            if mark != _MARK or check != zlib.crc32(head[:8]) or length > LARGEST_RECORD:
                if any(head) or _anything(file):  # a power cut leaves zeros, and nothing behind them
                    raise self._damaged(len(self.records))
                return
            start = place + _HEAD.size
            place = start + length
            if place > size:
                return
            found, first = _digest(file, before, length)
            if found != digest:
                if place < size:
                    raise self._damaged(len(self.records))
                return
            line, line_size = self._line(first)
            yield Record(line, start, length, line_size, before, digest)
            before = digest

    def _line(self, first: bytes) -> tuple[dict[str, Any], int]:
        text, end, _ = first.partition(b"\n")
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._damaged(len(self.records)) from error
        if not end or not isinstance(line, dict):
            raise self._damaged(len(self.records))
        return line, len(text) + 1

    def _cut_off(self, size: int) -> None:
        """Keep the unfinished end of the file beside it, and end the file before it."""
        number = 1
        while (aside := self.path.with_name(f"{self.path.stem}.torn-{number}")).exists():
            number += 1
        rest = self._bytes(self._end, size - self._end)
        with atomic_write(aside) as path:
            path.write_bytes(rest)
        os.ftruncate(self._file, self._end)
        os.fsync(self._file)
        self.set_aside = aside

    def _damaged(self, number: int) -> DataError:
        return DataError(
            f"{self.path}: record {number + 1} is damaged, and what follows it cannot be trusted; "
            "restore the file from a copy, or move it away to go on without its undo"
        )


def _head(size: int, digest: bytes) -> bytes:
    first = _MARK + struct.pack("<I", size)
    return first + struct.pack("<I", zlib.crc32(first)) + digest


def _digest(file: BinaryIO, before: bytes, length: int) -> tuple[bytes, bytes]:
    """The SHA-256 of a record's content joined to the one before, and the content's first bytes."""
    total, first = hashlib.sha256(before), b""
    while length:
        piece = file.read(min(length, _PIECE))
        if not piece:
            break
        total.update(piece)
        first = first or piece[:LONGEST_LINE]
        length -= len(piece)
    return total.digest(), first


def _anything(file: BinaryIO) -> bool:
    return any(any(piece) for piece in iter(lambda: file.read(_PIECE), b""))


def _settle_folder(folder: Path) -> None:
    """Wait until a new file's name is on the disk, where folders can be waited for."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
