"""The journal of one mask: every change on disk, with undo and redo that outlive the process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..support.lock import BUSY, HELD, LOCK, locked
from .change import Change
from .records import Record, RecordFile

FILE = "changes.journal"
LONGEST_NAME = 200
"""Characters of the longest name of a reader, a tool or a state."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as the journal knows it.

    Attributes:
        by: Who made it.
        tool: With what: `pen`, `slices`, `click` ...
        when: UTC, ISO 8601.
        start: The SHA-256 of the mask's state that it was made from.
        end: The SHA-256 of the state that it leads to.
        voxels: How many voxels change.
    """

    by: str
    tool: str
    when: str
    start: str
    end: str
    voxels: int


class Journal:
    """The changes of one mask, in a folder; used by one thread at a time, and closed at the end.

    The line of changes has a position: the changes before it are in force, those behind it are undone and can be
    redone until another change is recorded. Every method that changes something returns only once it is on the disk.
    The journal holds no mask: whoever calls applies what `redo` gives and reverts what `undo` gives.

    Attributes:
        folder: Where it lies; made where it is missing.
        alone: False where this file system has no locks, so that a second process would not be noticed.

    Raises:
        DataError: Another process has it open, it is damaged, or it cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: list[tuple[Entry, Record]] = []
        self._position = 0
        with ExitStack() as stack:
            self.alone = _hold(folder, stack)
            self._file = RecordFile(folder / FILE)
            stack.callback(self._file.close)
            for number, record in enumerate(self._file.records, 1):
                self._replay(number, record)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Let others open it; may be called twice."""
        self._stack.close()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The line of changes, oldest first; those from `position` on are undone."""
        return tuple(entry for entry, _ in self._entries)

    @property
    def position(self) -> int:
        """How many changes are in force."""
        return self._position

    @property
    def can_undo(self) -> bool:
        """Whether a change is in force."""
        return self._position > 0

    @property
    def can_redo(self) -> bool:
        """Whether a change is undone and nothing else was recorded since."""
        return self._position < len(self._entries)

    @property
    def set_aside(self) -> Path | None:
        """Where the unfinished record of a process that was killed lies now; None where there was none."""
        return self._file.set_aside

    @property
    def states(self) -> tuple[str, ...]:
        """The SHA-256 of the mask at every position, from before the first change; empty where there is no change."""
        return tuple(entry.start for entry, _ in self._entries) + tuple(entry.end for entry, _ in self._entries[-1:])

    def record(self, change: Change, by: str, tool: str, start: str, end: str) -> Entry:
        """Keep a change that was just made; changes that were undone are redone no more.

        Args:
            change: What changes.
            by: Who makes it.
            tool: With what.
            start: The SHA-256 of the mask's state before (see `voxgraft.correction.change`).
            end: The SHA-256 of its state afterwards.

        Raises:
            DataError: Nothing changes, a name is too long, it does not start where the journal stands, or it cannot
                be written; nothing was recorded.
        """
        if not change.voxels:
            raise DataError("a change of no voxel is not recorded")
        if any(not isinstance(name, str) or len(name) > LONGEST_NAME for name in (by, tool, start, end)):
            raise DataError(f"the name of a reader, a tool or a state has at most {LONGEST_NAME} characters")
        if self._entries and start != self.states[self._position]:
            raise DataError("the change starts from another state of the mask than the journal's last one")
        entry = Entry(by, tool, datetime.now(UTC).isoformat(timespec="seconds"), start, end, change.voxels)
        line = {name: getattr(entry, name) for name in Entry.__slots__}
        record = self._file.append({"do": "change", "at": self._position, **line}, change.to_bytes())
        self._follow(entry, record)
        return entry

    def change(self, number: int) -> Change:
        """The change of an entry.

        Raises:
            DataError: It is damaged.
        """
        return self._change(self._entries[number][1])

    def _change(self, record: Record) -> Change:
        return Change.from_bytes(self._file.read(record))

    def undo(self) -> Change:
        """Take back the last change that is in force, and give it: the caller reverts it.

        Raises:
            DataError: There is none, or the journal cannot be written.
        """
        if not self.can_undo:
            raise DataError("there is nothing to undo")
        change = self.change(self._position - 1)
        self._move(self._position - 1)
        return change

    def redo(self) -> Change:
        """Put the next undone change in force again, and give it: the caller applies it.

        Raises:
            DataError: There is none, or the journal cannot be written.
        """
        if not self.can_redo:
            raise DataError("there is nothing to redo")
        change = self.change(self._position)
        self._move(self._position + 1)
        return change

    def _move(self, position: int) -> None:
        self._file.append({"do": "move", "to": position, "when": datetime.now(UTC).isoformat(timespec="seconds")})
        self._position = position

    def _follow(self, entry: Entry, record: Record) -> None:
        self._entries[self._position :] = [(entry, record)]
        self._position += 1

    def _replay(self, number: int, record: Record) -> None:
        line, here = record.line, self._position
        try:
            if line["do"] == "change" and line["at"] == here:
                self._follow(_entry(line), record)
                return
            if line["do"] == "move" and abs(line["to"] - here) == 1 and 0 <= line["to"] <= len(self._entries):
                self._position = line["to"]
                return
        except (KeyError, TypeError, ValueError):
            pass
        raise DataError(
            f"{self._file.path}: record {number} was not written by this version of VoxGraft; move the folder away"
        )


def _entry(line: dict[str, Any]) -> Entry:
    texts = {name: str(line[name]) for name in ("by", "tool", "when", "start", "end")}
    return Entry(voxels=int(line["voxels"]), **texts)


def _hold(folder: Path, stack: ExitStack) -> bool:
    """Lock a journal's folder; gives False where the file system has no locks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        state = stack.enter_context(locked(folder / LOCK))
    except OSError as error:
        raise DataError(f"{folder}: the journal cannot be opened: {error.strerror or error}") from error
    if state == BUSY:
        raise DataError(f"{folder}: another process is correcting this mask; wait until it has ended")
    return state == HELD
