"""Case ids: short, safe as a folder's name, unique, the same in every call, and silent about the patient."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..support.texts import stem

if TYPE_CHECKING:
    from .entry import Entry

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
