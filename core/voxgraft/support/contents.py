"""What files hold: the SHA-256 of each, and what was read of them, kept while they stay as they are."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from .files import State, sha256, state_of, write_json

SETTLED = 2_000_000_000
"""Nanoseconds. A file that changed so shortly before it was hashed could change again within one tick of the file
system's clock; it is hashed again each time. FAT counts in 2 seconds."""


def is_settled(state: State) -> bool:
    """Whether a file has been left alone for so long that its next change will show in its state."""
    return bool(state) and time.time_ns() - state[2] > SETTLED


@dataclass(slots=True)
class Contents:
    """Hashes of files, kept in a JSON file from one call to the next.

    A hash is taken from there only where size, time of change, time of the inode's change and inode are the same: a
    file that was put back with its old size and time has another inode or another time of the inode's change. Paths
    are kept as hashes, since they can name patients.
    """

    path: Path
    _known: dict[str, Any] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    """Keys of files that had not settled when they were hashed."""

    _changed: bool = False

    def __post_init__(self) -> None:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        self._known = known if isinstance(known, dict) else {}

    def of(self, file: Path) -> str:
        """The SHA-256 of a file's bytes; empty where there is no such file."""
        return str(self._row(file)["sha256"])

    def noted(self, file: Path, name: str) -> Any:
        """What `note` kept of a file that has not changed since; else None."""
        return self._row(file).get(name)

    def note(self, file: Path, name: str, value: Any) -> None:
        """Keep plain values that follow from a file's content.

        Args:
            file: Whose content it is.
            name: Under which it is found again.
            value: What JSON can hold.
        """
        self._row(file)[name] = value
        self._changed = True

    def save(self) -> None:
        """Keep the hashes of files that have settled."""
        if self._changed:
            settled = {key: row for key, row in self._known.items() if key not in self._fresh}
            write_json(self.path, settled)
            self._changed = False

    def _row(self, file: Path) -> dict[str, Any]:
        state = state_of(file)
        if not state:
            return {"sha256": ""}
        key = hashlib.sha256(str(file.absolute()).encode(errors="surrogateescape")).hexdigest()[:32]
        row = self._known.get(key)
        if not isinstance(row, dict) or row.get("state") != state or "sha256" not in row or key in self._fresh:
            (self._fresh.discard if is_settled(state) else self._fresh.add)(key)
            content = sha256(file)
            kept = row if isinstance(row, dict) and row.get("sha256") == content else {}
            row = {**kept, "state": state, "sha256": content}
            self._known[key] = row
            self._changed = True
        return row


States = tuple[tuple[Path, State], ...]


@dataclass(slots=True)
class Kept:
    """Values that were made from files, until one of these changes; used by many threads.

    Steps go through cases in the same order, so what came first stays when there is no more room.

    Attributes:
        room: Bytes that may be kept yet.
    """

    room: int
    _kept: dict[Any, tuple[States, Any, int]] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock)

    @staticmethod
    def states(files: Iterable[Path]) -> States:
        """The states of files before they are read; nothing where one is not there, or changed so shortly before that
        it could change again and look the same."""
        found = [(file, state_of(file)) for file in files]
        return (
            tuple((file, state) for file, state in found if state) if all(is_settled(one) for _, one in found) else ()
        )

    def get(self, key: object) -> Any:
        """What was put there, where its files are what they were; else None."""
        before, value, _ = self._kept.get(key, ((), None, 0))
        return value if before and self.states(file for file, _ in before) == before else None

    def put(self, key: object, before: States, value: Any, size: int = 0) -> bool:
        """Keep a value, where there is room.

        Args:
            key: Says which value, and all that decided it but the files.
            before: What `states` says of the files before they were read; where it is nothing, nothing is kept.
            value: It must not be changed afterwards.
            size: Its bytes.

        Returns:
            Whether it is kept.
        """
        with self._lock:
            room = self.room + self._kept.get(key, ((), None, 0))[2]
            if not before or size > room:
                return False
            self.room = room - size
            self._kept[key] = before, value, size
            return True

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.room += sum(size for _, _, size in self._kept.values())
            self._kept.clear()
