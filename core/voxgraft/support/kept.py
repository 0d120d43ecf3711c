"""What was read of files, kept while they stay as they are, so that the steps of one call read each of them once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from .contents import State, is_settled, state_of

States = tuple[tuple[Path, State], ...]


def states(files: Iterable[Path]) -> States:
    """The states of files before they are read; nothing where one is not there, or changed so shortly before that it
    could change again and look the same."""
    found = [(file, state_of(file)) for file in files]
    return (
        tuple((file, state) for file, state in found if state) if all(is_settled(state) for _, state in found) else ()
    )


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

    def get(self, key: object) -> Any:
        """What was put there, where its files are what they were; else None."""
        before, value, _ = self._kept.get(key, ((), None, 0))
        return value if before and states(file for file, _ in before) == before else None

    def put(self, key: object, before: States, value: Any, size: int = 0) -> bool:
        """Keep a value, where there is room.

        Args:
            key: Says which value, and all that decided it but the files.
            before: What `states` said of the files before they were read; where it is nothing, nothing is kept.
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
