"""An entry of the worklist: one scan, or one set of channels; from files, or from a CSV table with one scan a row.

Its case id is short, safe as a folder's name, unique, the same in every call, and silent about the patient. What
decides its result besides its bytes and the model, options and the code that takes part, has a fingerprint.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..components.code import own_code
from ..errors import UsageError
from ..support.files import CELLS, digest, read_bytes, sha256, state_of
from ..support.texts import as_stored, stem

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
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
    """Names and states of an entry's files: while they are the same, so are the bytes. An export may give a file of
    other voxels the size and the time of the one that it replaces."""
    return digest([[file.name, *state_of(file)] for file in entry.files])


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


LONGEST = 120
"""Bytes of an id; file systems allow 255 for a name, and temporary names are a little longer."""

REVIEW = "review"
"""The folder of what people decide about the scans of a batch."""

PARTS = "parts"
"""The folder of the ledgers of a batch that is done in parts."""

RESERVED = frozenset(
    ("report.html", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "archive.json", REVIEW, PARTS)
)


def with_ids(
    entries: Sequence[Entry], known: Mapping[tuple[str, str], str], taken: Collection[str] = ()
) -> list[Entry]:
    """Give every entry its case id.

    A scan that the ledger knows keeps its id, and one that a worklist names has that name. Others are called by their
    file or folder; where two would share a name, the folders above come before it, and at last a hash behind it.

    Args:
        known: The ids of (input, series) in the ledger.
        taken: Names in the batch's folder that belong to something else.

    Raises:
        UsageError: Worklists call two scans by one name.
    """
    wished = [safe_name(entry.case) for entry in entries]
    often = Counter(name.casefold() for name in wished if name)
    if double := next((name for name in wished if often[name.casefold()] > 1), None):
        raise UsageError(f"two scans are called {double!r}; give each scan of the worklists its own name")
    ids = [name or known.get(entry.key, "") for entry, name in zip(entries, wished, strict=True)]
    used = {name.casefold() for name in (*RESERVED, *taken, *known.values(), *filter(None, ids))}
    shared = Counter(entry.given for entry in entries)
    offers = [_offers(entry, shared[entry.given] > 1) for entry in entries]
    for level in range(max(map(len, offers), default=0)):
        open_ = [i for i, name in enumerate(ids) if not name and level < len(offers[i])]
        often = Counter(offers[i][level].casefold() for i in open_)
        for i in open_:
            name = offers[i][level]
            if name and often[name.casefold()] == 1 and name.casefold() not in used:
                ids[i] = name
                used.add(name.casefold())
    for i, entry in enumerate(entries):
        if not ids[i]:
            ids[i] = f"{offers[i][0] or 'scan'}-{short_hash('#'.join(entry.key))}"
    return [replace(entry, case=name) for entry, name in zip(entries, ids, strict=True)]


def safe_name(text: str) -> str:
    """A text as a folder's name; empty where nothing of it can stand in one."""
    plain = re.sub(r"[^\w.-]+", "-", text).strip(".-_")
    return plain.encode()[:LONGEST].decode(errors="ignore")


def _offers(entry: Entry, shared: bool) -> list[str]:
    """What an entry may be called, the shortest first."""
    last = stem(entry.given)
    if entry.hint:
        last = entry.hint
    elif entry.items and entry.items[0].series is None:
        last = re.sub(r"_0000$", "", last)  # the number of the only channel, in data sets that nnU-Net reads
    elif shared and entry.series:
        last = f"{last}-{entry.description or short_hash(entry.series)}"
    inside = entry.given.is_relative_to(entry.root) and entry.given != entry.root
    above = list(entry.given.relative_to(entry.root).parts[:-1]) if inside else list(entry.given.parts[-2:-1])
    patients = [_plain(item.patient) for item in entry.items if item.patient and len(_plain(item.patient)) > 2]
    parts = [part for part in (*above, last) if not any(patient in _plain(part) for patient in patients)]
    return [safe_name("-".join(parts[-length:])) for length in range(1, len(parts) + 1)] or [""]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.casefold())


def short_hash(text: str) -> str:
    """Eight letters that tell texts apart."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


_LONG = 32
"""Hexadecimal digits of each fingerprint."""
_PARTS = ("options", "code of VoxGraft", "code of plugins")
"""What the fingerprints are of, in their order."""


class Decides:
    """Gives the fingerprints under which the ledger knows the result of a scan.

    Args:
        options: Plain values.
        code: Of everything but readers, as `Outputs.code` gives it.
        catalogue: Knows the readers of scans.
    """

    def __init__(self, options: Sequence[Any], code: Sequence[Any], catalogue: Catalogue) -> None:
        self._options, self._code, self._catalogue = options, code, catalogue
        self._readers = {spec.name: plugin for plugin, spec in catalogue.of("reader")}

    def __call__(self, entry: Entry) -> str:
        """The fingerprint of the options, with the channels that are missing, and those of the code."""
        readers = [[item.reader, self._reader(item.reader)] for item in entry.items]
        parts = ([*self._options, list(entry.missing)], own_code(), [*self._code, readers])
        return "-".join(digest(part)[:_LONG] for part in parts)

    def _reader(self, name: str) -> str:
        plugin = self._readers.get(name)
        return self._catalogue.code_of(self._catalogue.origin_of(plugin)) if plugin is not None else ""


def what_changed(before: str, now: str) -> str:
    """In a word which of the fingerprints differ first; empty where none does."""
    pairs = zip(_PARTS, before.split("-"), now.split("-"), strict=False)
    return next((part for part, one, other in pairs if one != other), "" if before == now else "code")
