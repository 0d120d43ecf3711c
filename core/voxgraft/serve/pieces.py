"""What was drawn of one scan, on disk: each object a journal of changes from an empty mask, undo included."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..correction.change import Change, State
from ..correction.journal import Journal
from ..imaging.structures import Box
from ..support.files import write_json
from ..support.lock import remove

Mask = NDArray[np.uint8]

MOST = 1000
"""Objects of one scan."""


class Piece:
    """One object that is being drawn: a mask of 0 and 1, and every change that led to it.

    Args:
        folder: Holds its journal.
        shape: Of the scan.

    Raises:
        DataError: The journal is damaged, or another process has it open.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self.folder = folder
        self.mask: Mask = np.zeros(shape, np.uint8)
        self._journal = Journal(folder)
        try:
            for number in range(self._journal.position):
                self._journal.change(number).apply(self.mask)
        except BaseException:
            self._journal.close()
            raise
        self._state = State(self.mask)

    def close(self) -> None:
        self._journal.close()

    @property
    def changed(self) -> str:
        """When it was last changed, UTC."""
        return self._journal.entries[-1].when if self._journal.entries else ""

    def become(self, mask: NDArray[np.generic], tool: str) -> Box | None:
        """Make the mask into another, and keep the change; gives the box in which something changed.

        Args:
            mask: Of the same shape; what is not 0 belongs to the object.
            tool: With what it was made.
        """
        change = Change.between(self.mask, (mask != 0).astype(np.uint8))
        return None if change is None else self.change(change, tool)

    def change(self, change: Change, tool: str) -> Box | None:
        """Make a change and keep it; gives its box, or None where no voxel changes."""
        if not change.voxels:
            return None
        start, state = self._state.sha256, self._state.copy()
        change.apply(self.mask)
        state.update(self.mask, change.box)
        try:
            self._journal.record(change, "viewer", tool, start, state.sha256)
        except BaseException:
            change.revert(self.mask)
            raise
        self._state = state
        return change.box

    def undo(self) -> Box | None:
        """Take the last change back; gives its box, or None where there is nothing left to undo."""
        if not self._journal.can_undo:
            return None
        change = self._journal.undo()
        change.revert(self.mask)
        self._state.update(self.mask, change.box)
        return change.box


@dataclass(frozen=True, slots=True)
class Outline:
    """Where an object that is put aside lies, packed small.

    Attributes:
        box: Holds all of it.
        bits: Its voxels in the box, eight to a byte.
    """

    box: Box
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, mask: Mask) -> Outline | None:
        """None where the mask is empty."""
        change = Change.between(np.zeros_like(mask), mask)
        return None if change is None else cls(change.box, np.packbits(change.after))

    def holds(self, index: tuple[int, ...]) -> bool:
        """Whether a voxel belongs to it."""
        if not all(part.start <= i < part.stop for part, i in zip(self.box, index, strict=True)):
            return False
        return bool(self._inside()[tuple(i - part.start for part, i in zip(self.box, index, strict=True))])

    def equals(self, mask: NDArray[np.bool_]) -> bool:
        """Whether a mask of the scan is just this object."""
        inside = self._inside()
        return int(mask.sum()) == int(inside.sum()) and bool(np.array_equal(mask[self.box], inside))

    def _inside(self) -> NDArray[np.bool_]:
        shape = [part.stop - part.start for part in self.box]
        return np.unpackbits(self.bits, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)


@dataclass
class Pieces:
    """The objects of one scan with one model, in a folder; shared by all clients that have this scan open.

    Attributes:
        shape: Of the scan, in the order of axes of its client.
    """

    folder: Path
    shape: tuple[int, ...]
    _aside: dict[str, Outline | None] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)
    _mutex: threading.RLock = field(default_factory=threading.RLock)

    @property
    def used(self) -> bool:
        """Whether some client has one of them open."""
        return bool(self._open)

    def begin(self) -> Piece:
        """A new object."""
        with self._mutex:
            number = max(map(int, self._names()), default=0) + 1
            while str(number) in self._open:
                number += 1
            return self._opened(f"{number:04d}")

    def put_aside(self, piece: Piece) -> None:
        """Close an object; one of no change leaves nothing behind."""
        with self._mutex:
            name = piece.folder.name
            outline = Outline.of(piece.mask) if piece.changed else None
            piece.close()
            self._open.discard(name)
            if piece.changed:
                self._aside[name] = outline
            else:
                remove(piece.folder)

    def at(self, index: tuple[int, ...], but: frozenset[str] = frozenset()) -> Piece | None:
        """The object that was drawn last of those that hold a voxel and are put aside.

        Args:
            index: The voxel.
            but: Names of objects that are not meant.
        """
        with self._mutex:
            for name, outline in self._lying(but):
                if outline.holds(index):
                    return self._opened(name)
        return None

    def like(self, mask: NDArray[np.bool_]) -> Piece | None:
        """The object that was drawn last of those that are just this mask and are put aside."""
        with self._mutex:
            for name, outline in self._lying(frozenset()):
                if outline.equals(mask):
                    return self._opened(name)
        return None

    def last(self, but: frozenset[str] = frozenset()) -> Piece | None:
        """The object that was drawn last of those that are put aside and not empty."""
        with self._mutex:
            for name, _ in self._lying(but):
                return self._opened(name)
        return None

    def _opened(self, name: str) -> Piece:
        piece = Piece(self.folder / name, self.shape)
        self._open.add(name)
        self._aside.pop(name, None)
        return piece

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.name.isdigit() and path.is_dir())

    def _lying(self, but: frozenset[str]) -> Iterator[tuple[str, Outline]]:
        """Objects that are put aside and not empty, the one that was changed last first."""
        names = [name for name in self._names() if name not in self._open and name not in but]
        for name in sorted(names, key=self._touched, reverse=True)[:MOST]:
            if name not in self._aside:
                piece = Piece(self.folder / name, self.shape)
                self._aside[name] = Outline.of(piece.mask)
                piece.close()
            if (outline := self._aside[name]) is not None:
                yield name, outline

    def _touched(self, name: str) -> tuple[int, str]:
        files = [path.stat().st_mtime_ns for path in (self.folder / name).iterdir() if path.is_file()]
        return max(files, default=0), name


def note_scan(folder: Path, facts: dict[str, object]) -> None:
    """Say beside what was drawn of a scan which scan and model it belongs to, once."""
    target = folder / "scan.json"
    if not target.is_file():
        write_json(target, json.loads(json.dumps(facts)))
