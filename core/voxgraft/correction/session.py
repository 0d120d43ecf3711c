"""One mask under correction: image, mask, journal and locks together; first a preview, then a commit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ..errors import DataError
from .change import Change, Labels, check_alike
from .clicks import Click, click, load
from .geometry import check_spacing
from .journal import Entry, Journal
from .locks import broken
from .slices import propagate
from .state import State

DRAWING = frozenset({"pen", "filled-pen", "eraser", "draw"})
"""Tools that draw: what was drawn since any other tool was used is what `propagate` carries on."""


class LockedError(DataError):
    """A change would touch locked structures; nothing was changed.

    Attributes:
        voxels: How many voxels of each.
    """

    def __init__(self, voxels: dict[int, int]) -> None:
        self.voxels = voxels
        told = ", ".join(f"{number} voxels of structure {label}" for label, number in voxels.items())
        super().__init__(f"the change touches {told}, which is locked; unlock it, or leave it as it is")


class Session:
    """A mask that is being corrected, by one thread at a time; closed at the end.

    Previews change nothing. A commit, an undo and a redo are on the disk before the mask in memory changes, so that
    after a kill the mask, in whatever state it was last saved, is brought to where the journal stands.

    Args:
        folder: The journal's folder; made where it is missing.
        mask: Whole numbers (i, j[, k]): the mask as it was first, or in any state that the journal knows. It is
            copied.
        spacing: Millimetres between voxels along each axis.
        image: The image (i, j[, k]) for clicks; it is not copied. Without one clicks go by distance only.
        locked: Labels of structures that must stay as they are.

    Attributes:
        mask: The mask as it is now, first axis fastest in memory; read it, and change it through the session.
        locked: May be set at any time.
        image: See above.

    Raises:
        DataError: Another process corrects this mask, the journal is damaged or of another mask, or the image has
            another shape.
    """

    def __init__(
        self,
        folder: Path,
        mask: Labels,
        spacing: Sequence[float],
        image: NDArray[Any] | None = None,
        locked: Collection[int] = (),
    ) -> None:
        check_alike(mask, mask)
        self.spacing = check_spacing(spacing, mask.ndim)
        if image is not None and image.shape != mask.shape:
            raise DataError(f"the image has the shape {image.shape}, and its mask {mask.shape}")
        load()
        self.image = image
        self.locked = frozenset(locked)
        self.mask: Labels = mask.copy(order="F")
        self.journal = Journal(folder)
        try:
            self._state = State(self.mask)
            self._catch_up()
        except BaseException:
            self.journal.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others correct the mask."""
        self.journal.close()

    @property
    def state(self) -> str:
        """The SHA-256 of the mask's state."""
        return self._state.sha256

    @property
    def memory(self) -> int:
        """Bytes that image and mask take in memory."""
        return self.mask.nbytes + (0 if self.image is None else self.image.nbytes)

    def draw(self, after: Labels) -> Change:
        """Preview a mask that was drawn elsewhere.

        Raises:
            DataError: It has another shape, or labels that do not fit.
        """
        return Change.between(self.mask, after) or Change.nothing(self.mask)

    def click(self, label: int, points: Sequence[Click], radius_mm: float) -> Change:
        """Preview clicks; see `voxgraft.correction.clicks.click`.

        Args:
            label: The structure that they add to or remove from.
            points: The clicks.
            radius_mm: How far from a click anything may change.

        Raises:
            DataError: An argument is out of range, or a click lies in a locked structure.
        """
        return click(self.image, self.mask, label, points, self.spacing, self.locked, radius_mm)

    def propagate(self, label: int, axis: int, reach_mm: float, slices: Collection[int] | None = None) -> Change:
        """Preview what follows from the slices that were drawn since the last change by another tool.

        Args:
            label: The structure.
            axis: Across the slices.
            reach_mm: See `voxgraft.correction.slices.propagate`.
            slices: The slices that are right as they are now; by default those that were drawn.

        Raises:
            DataError: An argument is out of range, or the structure is locked.
        """
        before = self._before_drawing()
        return propagate(before, self.mask, label, axis, self.spacing, reach_mm, self.locked, slices)

    def commit(self, change: Change, by: str, tool: str) -> Entry:
        """Make a change for good: it is proved to keep the locks, recorded on the disk, and then applied.

        Args:
            change: What a preview gave.
            by: Who makes it.
            tool: With what; see `DRAWING`.

        Raises:
            LockedError: It touches locked structures.
            DataError: The mask has changed since the preview, nothing changes, or the disk is full.
        """
        touched = broken(change.before, change.after, self.locked)
        if touched:
            raise LockedError(touched)
        after = self._applied(change)
        entry = self.journal.record(change, by, tool, self.state, after.sha256)
        self._state = after
        change.apply(self.mask)
        return entry

    def undo(self) -> Change:
        """Take back the last change, and give it.

        Raises:
            LockedError: It touches structures that are locked by now.
            DataError: There is none, or the disk is full.
        """
        if self.journal.can_undo:
            self._check_locks(self.journal.position - 1)
        change = self.journal.undo()
        change.revert(self.mask)
        self._state.update(self.mask, change.box)
        return change

    def redo(self) -> Change:
        """Make the change again that was undone last, and give it.

        Raises:
            LockedError: It touches structures that are locked by now.
            DataError: There is none, or the disk is full.
        """
        if self.journal.can_redo:
            self._check_locks(self.journal.position)
        change = self.journal.redo()
        change.apply(self.mask)
        self._state.update(self.mask, change.box)
        return change

    def _check_locks(self, number: int) -> None:
        change = self.journal.change(number)
        touched = broken(change.before, change.after, self.locked)
        if touched:
            raise LockedError(touched)

    def _applied(self, change: Change) -> State:
        """The state that a change leads to; the mask is as before afterwards."""
        after = self._state.copy()
        change.apply(self.mask)
        after.update(self.mask, change.box)
        change.revert(self.mask)
        return after

    def _before_drawing(self) -> Labels:
        """The mask before the strokes that were drawn since another tool was used."""
        before, number = self.mask, self.journal.position
        entries = self.journal.entries
        while number and entries[number - 1].tool in DRAWING:
            number -= 1
            before = before.copy(order="F") if before is self.mask else before
            self.journal.change(number).revert(before)
        return before

    def _catch_up(self) -> None:
        """Bring a mask that was saved in another state to where the journal stands."""
        states, position = self.journal.states, self.journal.position
        if not states or self.state == states[position]:
            return
        for change, forward in self.journal.since(self.state):
            (change.apply if forward else change.revert)(self.mask)
        self._state = State(self.mask)
        if self.state != states[position]:
            raise DataError(f"{self.journal.folder}: the journal's changes do not lead to the state that it names")
