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
system's clock; it is hashed again next time. FAT counts in 2 seconds."""


@dataclass(slots=True)
class Contents:
    """Hashes of files, kept in a JSON file from one call to the next.

    A hash is taken from there only where size, time of change, time of the inode's change and inode are the same: a
    file that was put back with its old size and time has another inode or another time of the inode's change. Paths
    are kept as hashes, since they can name patients.
    """

    path: Path
    _known: dict[str, Any] = field(default_factory=dict)
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
            now = time.time_ns()
            settled = {key: row for key, row in self._known.items() if now - row["state"][2] > SETTLED}
            write_json(self.path, settled)
            self._changed = False

    def _row(self, file: Path) -> dict[str, Any]:
        try:
            stat = file.stat()
        except (OSError, ValueError):
            return {"sha256": ""}
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        key = hashlib.sha256(str(file.absolute()).encode(errors="surrogateescape")).hexdigest()[:32]
        row = self._known.get(key)
        if not isinstance(row, dict) or row.get("state") != state or "sha256" not in row:
            row = {"state": state, "sha256": sha256(file)}
            self._known[key] = row
            self._changed = True
        return row
