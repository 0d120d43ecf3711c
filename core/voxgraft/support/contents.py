"""What files hold: the SHA-256 of each, computed again only where the file may have changed."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import sha256, write_json

SETTLED = 2_000_000_000
"""Nanoseconds. A file that changed so shortly before it was hashed could change again within one tick of the file
system's clock; it is hashed again each time. FAT counts in 2 seconds."""


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
