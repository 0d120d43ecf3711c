"""An entry of the worklist: one scan, or one set of channels; from files, or from a CSV table with one scan a row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..support.files import CELLS, digest, read_bytes, sha256
from ..support.texts import as_stored

if TYPE_CHECKING:
    from ..imaging.volume import Item
    from .quality import Flag


@dataclass(frozen=True, slots=True)
class Entry:
    """One scan of a batch, before anything is done with it.

    Attributes:
        items: The images to read, one for each channel that is there or one with all; none where there is nothing to
            read.
        given: The scan's path as the caller would write it.
        input: The same path relative to the batch's folder: the scan's identity, with `series`.
        root: The INPUT below which it was found.
        case: The name of its folder and of its row; until ids are given, only what a CSV worklist calls it.
        hint: What it might be called, where its files have a name in common.
        state: `waiting`, `left-out` or `failed`.
        missing: The numbers of the optional channels that are not there.
        forced: A person said that it is to be segmented, whatever the contract says of it.
    """

    items: tuple[Item, ...]
    given: Path
    input: str
    series: str = ""
    root: Path = Path()
    case: str = ""
    hint: str = ""
    description: str = ""
    state: str = "waiting"
    code: str = ""
    reason: str = ""
    flags: tuple[Flag, ...] = ()
    missing: tuple[int, ...] = ()
    forced: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.input, self.series

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the scan is read from."""
        paths = [file for item in self.items for file in (item.files or (item.path,))]
        return tuple(file for file in paths or [self.given] if file.is_file())


def stat_of(entry: Entry) -> str:
    """Names, sizes and times of an entry's files: while they are the same, so are the bytes."""
    stats = []
    for file in entry.files:
        with suppress(OSError):
            status = file.stat()
            stats.append([file.name, status.st_size, status.st_mtime_ns])
    return digest(stats)


def hash_of(entry: Entry) -> str:
    """A fingerprint of the bytes that a scan is read from."""
    hashes = []
    for file in entry.files:
        with suppress(OSError):  # a file that cannot be opened fails where it is read, with its reason
            hashes.append(sha256(file))
    return digest(hashes)


_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Listed:
    """One row: the paths (one for each channel that is there, or one for all), and what the row says besides.

    Attributes:
        missing: The numbers of the optional channels that the row does not name.
    """

    paths: tuple[Path, ...]
    case: str = ""
    series: str | None = None
    missing: tuple[int, ...] = ()


def read_worklist(path: Path, channels: Sequence[str], optional: Sequence[str] = ()) -> list[Listed]:
    """The rows of a CSV worklist.

    The columns are `path`, or one for each channel by its name; `case` and `series` may stand beside them, and other
    columns are skipped. Columns are parted by commas, semicolons or tabs. Paths are relative to the worklist.

    Args:
        optional: Channels whose column, or whose cell in a row, may be missing.

    Raises:
        UsageError: It is no such file; the message names the line.
    """
    rows = _rows(path)
    if not rows:
        raise UsageError(f"{path}: the worklist is empty")
    head = [name.strip().lower() for name in rows[0][1]]
    columns = _columns(path, head, channels, optional)
    may_lack = {channel.lower() for channel in optional} if columns != ["path"] else set()
    entries = []
    lines: dict[str, int] = {}
    for line, row in rows[1:]:
        if len(row) != len(head):
            raise UsageError(f"{path}:{line}: has {len(row)} columns, the first line has {len(head)}")
        values = dict(zip(head, (cell.strip() for cell in row), strict=True))
        empty = [column for column in columns if not values.get(column)]
        if bare := next((column for column in empty if column not in may_lack), None):
            raise UsageError(f"{path}:{line}: the column {bare!r} is empty")
        case = values.get("case", "")
        if case and lines.setdefault(case.casefold(), line) != line:
            raise UsageError(f"{path}:{line}: the case {case!r} is already in line {lines[case.casefold()]}")
        paths = tuple(as_stored(path.parent / values[column]) for column in columns if column not in empty)
        missing = tuple(index for index, column in enumerate(columns) if column in empty)
        entries.append(Listed(paths, case, values.get("series") or None, missing))
    if not entries:
        raise UsageError(f"{path}: the worklist names no scan")
    return entries


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Every line that is not empty, with its number."""
    try:
        data = read_bytes(path, marks=CELLS)
        if b"\0" in data or _CONTROL.search(data.split(b"\n", 1)[0]):
            raise UsageError(f"{path}: is not a CSV worklist in UTF-8: it contains bytes that are not text")
        text = data.decode("utf-8-sig", "surrogateescape")  # paths may be of any bytes
        first = text.lstrip().split("\n", 1)[0]
        delimiter = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except csv.Error as error:
        raise UsageError(f"{path}: is not a CSV worklist: {error}") from None


def _columns(path: Path, head: Sequence[str], channels: Sequence[str], optional: Sequence[str]) -> list[str]:
    if len(set(head)) != len(head):
        raise UsageError(f"{path}:1: a column appears twice")
    names = [channel.lower() for channel in channels]
    if all(name in head for name in names if name not in {channel.lower() for channel in optional}):
        return names
    if "path" in head:
        return ["path"]
    choices = f" or {', '.join(channels)}" if len(channels) > 1 else ""
    raise UsageError(f"{path}:1: has no column 'path'{choices}; its columns are {', '.join(head)}")
