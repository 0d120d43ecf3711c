"""The mask that one reader works on: its voxels in memory, its file, and the journal of its changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...correction.change import State
from ...correction.journal import Journal
from ...errors import DataError
from ...imaging.volume import Array
from ...support.files import sha256
from ...support.machine import free_memory
from .errors import Conflict
from .masks import Mask, parsed

SHARE, LEAST = 4, 2**28
"""Masks that are kept in memory may have this part of what is free, and at least so many bytes."""
OPEN = 64
"""Masks that are kept open at most: each may hold an open journal."""


@dataclass(eq=False)
class Working:
    """A reader's mask of one scan.

    Attributes:
        array: The labels as they are now, (i, j, k).
        model: What the model found, (i, j, k).
        sha256: Of the file that holds `array`: the reader's own, or the mask that the reader starts from.
        model_sha256: Of the model's mask file.
        voxels: Value of a structure -> voxels it has.
        journal: Of the reader's changes; None until the first.
        dirty: A change is under way: what stands in memory is not on the disk.
    """

    array: Array
    affine: Array
    model: Array
    sha256: str
    model_sha256: str
    state: State
    voxels: dict[int, int]
    journal: Journal | None = None
    dirty: bool = False

    @property
    def mask(self) -> Mask:
        return Mask(self.array, self.affine)

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes + self.model.nbytes)

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()


def open_journal(folder: Path, state: str, told: Callable[[str], None]) -> Journal:
    """The journal of a mask in this state.

    A process that was killed between two files leaves it one change ahead or behind: it is brought to where the mask
    is, and the change can be redone. One that belongs to another mask is set aside.

    Args:
        folder: Of the journal.
        state: Hash of the voxels of the mask.
        told: Is told where a journal is set aside.

    Raises:
        DataError: Another process has it open, or it cannot be read or written.
    """
    journal = Journal(folder)
    states = journal.states
    if not states or states[journal.position] == state:
        return journal
    if journal.can_undo and states[journal.position - 1] == state:
        journal.undo()
        return journal
    if journal.can_redo and states[journal.position + 1] == state:
        journal.redo()
        return journal
    journal.close()
    aside = folder.with_name(f"{folder.name}.of-{states[0][:12]}")
    number = 1
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{folder.name}.of-{states[0][:12]}-{number}")
    folder.rename(aside)
    told(f"journal of {folder.parent.name}: belongs to another mask than the reader's; set aside as {aside.name}")
    return Journal(folder)


def whole_mask(path: Path, content: str, like: Mask | None = None) -> Mask:
    """A mask file that must have a known SHA-256.

    Args:
        path: The file.
        content: Its SHA-256.
        like: A mask whose shape it must have; None for any.

    Raises:
        Conflict: It has another one.
        DataError: It cannot be read.
    """
    try:
        same = sha256(path) == content
        data = path.read_bytes() if same else b""
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    if not same:
        raise Conflict(
            f"{path.name} was changed outside of the review, or is being replaced; look at the scan again in a moment",
            current="",
        )
    mask = parsed(data, None)
    if like is not None and mask.array.shape != like.array.shape:
        raise Conflict("the scan was segmented again in another grid; your mask of it is kept, and does not fit it")
    return mask


class Kept:
    """The masks that are in memory, those that were not used for the longest time leaving first."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._masks: OrderedDict[tuple[str, str], Working] = OrderedDict()
        self._opening: dict[tuple[str, str], threading.Lock] = {}
        self._most = max(LEAST, free_memory() // SHARE)

    @contextmanager
    def using(self, case: str, reader: str, fresh: Callable[[Working | None], Working]) -> Iterator[Working]:
        """Use a reader's mask alone.

        Args:
            case: The scan.
            reader: Whose mask.
            fresh: Gives the mask as it must be now, from the one in memory where that still holds.
        """
        key = (case, reader)
        with self._mutex:
            lock = self._opening.setdefault(key, threading.Lock())
        with lock:
            known = self._masks.get(key)
            working = fresh(known)
            if known is not None and working is not known:
                known.close()
            with self._mutex:
                self._masks[key] = working
                self._masks.move_to_end(key)
            try:
                yield working
            finally:
                if working.dirty:
                    self.forget(case, reader)
                self._trim(key)

    def forget(self, case: str, reader: str) -> None:
        """Have a mask read from the disk again."""
        with self._mutex:
            working = self._masks.pop((case, reader), None)
        if working is not None:
            working.close()

    def close(self) -> None:
        with self._mutex:
            for working in self._masks.values():
                working.close()
            self._masks.clear()

    def _trim(self, keep: tuple[str, str]) -> None:
        """Let masks go that nobody uses, until the others fit."""
        with self._mutex:
            total = sum(working.nbytes for working in self._masks.values())
            for key in list(self._masks):
                if total <= self._most and len(self._masks) <= OPEN:
                    break
                lock = self._opening[key]
                if key == keep or not lock.acquire(blocking=False):
                    continue
                try:
                    working = self._masks.pop(key)
                    working.close()
                    total -= working.nbytes
                finally:
                    lock.release()
