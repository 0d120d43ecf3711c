"""Corrections of masks: saves, undo and redo, each on the disk before it is answered.

What is written, in this order: the change in the reader's journal; the whole mask under a name of its own; the line of
the audit log that names its hash; the mask's final name. Whoever is killed in between is found out when the folder is
opened again: a mask that a line names gets its final name, one that no line names is kept aside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...batch.ledger import Row
from ...correction.change import Change, State
from ...correction.locks import broken, changes, keep
from ...imaging.structures import Labels
from ...imaging.volume import Volume
from ...imaging.write import write
from ...support.files import sha256
from ...support.lock import remove
from .audit import settle
from .errors import Conflict, NotThere, Refused
from .masks import check_values, parsed
from .records import SavedMask
from .reviewed import Reviewed, named, no_mask
from .viewing import MASK, Seen
from .working import Kept, Working, open_journal, whole_mask

NEXT = ".next-"
"""How a mask is called between being written and being named by the log."""
SERVED = ("propagate", "click", "fill", "smooth", "adopted")
"""Tools whose changes the server worked out: none of them is a drawing."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a save.

    Attributes:
        sha256: Of the reader's mask file.
        voxels: How many voxels changed.
        structures: What each structure has now.
    """

    sha256: str
    voxels: int
    structures: list[dict[str, Any]]
    can_undo: bool
    can_redo: bool

    def document(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            "changed": self.voxels,
            "structures": self.structures,
            "can_undo": self.can_undo,
            "can_redo": self.can_redo,
        }


class Editor:
    """Changes the masks of readers.

    Args:
        store: The state of the review.
    """

    def __init__(self, store: Reviewed) -> None:
        self._store = store
        self.kept = Kept()

    def save(
        self, case: str, reader: str, base: str, data: bytes, locked: Collection[int] = (), tool: str = "pen"
    ) -> Saved:
        """Save a mask that was made from the one with the hash `base`.

        Args:
            case: The scan.
            reader: Whose mask it becomes.
            base: SHA-256 of the mask file that the reader started from.
            data: A NIfTI file, packed with gzip or not.
            locked: Values of the structures that the page has locked; those that are finished always are.
            tool: What it was changed with.

        Raises:
            Conflict: The base is another one by now, or a locked structure would change; nothing was changed.
            DataError: It is not a mask of this scan, or the disk is full.
        """
        with self.using(case, reader, base) as (seen, working):
            change = Change.between(working.array, parsed(data, working.mask).array)
            if change is None:
                return self._saved(seen, working, 0)
            check_values(change.after, values_of(seen.row))
            refuse_locked(seen, change, locked)
            return self.commit(seen, working, change, tool)

    def undo(self, case: str, reader: str, base: str | None = None) -> Saved:
        """Take back the reader's last change; see `redo`.

        Args:
            case: The scan.
            reader: Whose change.
            base: SHA-256 of the mask file that the reader sees; None for whichever it is.
        """
        return self._step(case, reader, "undo", base)

    def redo(self, case: str, reader: str, base: str | None = None) -> Saved:
        """Make the change again that was taken back last.

        Args:
            case: The scan.
            reader: Whose change.
            base: SHA-256 of the mask file that the reader sees; None for whichever it is.

        Raises:
            Refused: There is none.
            Conflict: It would change a structure that is finished, or the mask is another one by now.
        """
        return self._step(case, reader, "redo", base)

    def adopt(self, case: str, reader: str, content: str, structure: str = "") -> str:
        """Take what another's mask says of a structure into one's own mask; gives the hash of one's own then.

        Args:
            case: The scan.
            reader: An adjudicator.
            content: SHA-256 of a mask that the reader may see.
            structure: Its name; empty for all that are not finished.
        """
        with self.using(case, reader, None) as (seen, working):
            wanted = self._read(seen, content).array
            after = working.array.copy(order="K")
            if structure:
                value = int(seen.row.structures[structure]["value"])
                after[after == value] = 0
                after[wanted == value] = value
            else:
                after = wanted
            after = keep(working.array, after, list(seen.finished.values()))
            change = Change.between(working.array, after)
            return working.sha256 if change is None else self.commit(seen, working, change, "adopted").sha256

    @contextmanager
    def using(self, case: str, reader: str, base: str | None) -> Iterator[tuple[Seen, Working]]:
        """A scan as the reader sees it, and the mask that he or she works on, for one change alone.

        Args:
            case: The scan.
            reader: Who.
            base: SHA-256 of the mask file that is seen; None for whichever it is.

        Raises:
            NotThere: There is no such scan, or it has no mask.
            Conflict: The mask is another one by now.
        """
        self._store.check_writable()

        def fresh(known: Working | None) -> Working:
            seen = self._store.seen(case, named(reader))
            if not seen.model_mask:
                raise NotThere(no_mask(seen.row))
            if base is not None and base not in self._bases(seen):
                raise Conflict("the mask was changed since you opened it; nothing was saved", current=seen.mask)
            wanted = base or seen.mask
            if known and (known.sha256, known.model_sha256) == (wanted, seen.model_mask):
                return known
            return self._read(seen, wanted)

        with self.kept.using(case, reader, fresh) as working:
            yield self._store.seen(case, reader), working

    def _bases(self, seen: Seen) -> set[str]:
        """Masks that a change may start from: one's own; without one, any that may be seen."""
        if seen.mine is None:
            return {seen.model_mask, *(mask.sha256 for mask in seen.masks.values())}
        if seen.superseded:  # the scan was segmented again: one may start anew from there
            return {seen.mine.sha256, seen.model_mask}
        return {seen.mine.sha256}

    def _read(self, seen: Seen, wanted: str) -> Working:
        case, folder, row = seen.row.case, self._store.folder, seen.row
        model = whole_mask(self._store.out / case / MASK, seen.model_mask)
        array, voxels = model.array, {int(one["value"]): int(one["voxels"]) for one in row.structures.values()}
        if wanted != seen.model_mask:
            owner = next((mask for mask in seen.masks.values() if mask.sha256 == wanted), None)
            if owner is None:
                raise NotThere("there is no such mask of this scan")
            array = whole_mask(folder.mask(case, owner.reader), wanted, model).array
            voxels = {int(value): number for value, number in owner.voxels.items()}
        array = array.astype(model.array.dtype, order="K", copy=True)
        working = Working(array, model.affine, model.array, wanted, seen.model_mask, State(array), voxels)
        if seen.mine is not None and seen.mine.sha256 == wanted:
            journal = folder.journal(case, seen.reader)
            working.journal = open_journal(journal, working.state.sha256, self._store.tell)
        return working

    def _step(self, case: str, reader: str, tool: str, base: str | None) -> Saved:
        with self.using(case, reader, base) as (seen, working):
            journal = working.journal
            if journal is None or not (journal.can_undo if tool == "undo" else journal.can_redo):
                raise Refused(f"there is nothing to {tool}")
            change = journal.change(journal.position - 1 if tool == "undo" else journal.position)
            before, after = (change.after, change.before) if tool == "undo" else (change.before, change.after)
            step = Change(change.box, before, after)
            refuse_locked(seen, step, ())
            return self.commit(seen, working, step, tool)

    def commit(self, seen: Seen, working: Working, change: Change, tool: str) -> Saved:
        """Make a change and keep it.

        Args:
            seen: The scan as the reader sees it.
            working: The reader's mask, from `using`.
            change: What is changed.
            tool: What it was changed with.

        Raises:
            Conflict: A structure was finished meanwhile that it would change.
            DataError: The disk is full; nothing was changed.
        """
        case, reader, folder = seen.row.case, seen.reader, self._store.folder
        target = folder.mask(case, reader)
        pending = target.with_name(f"{NEXT}{target.name}")
        working.dirty = True
        self._apply(working, change, tool, folder.journal(case, reader), reader)
        try:
            content = self._written(seen.row, working, pending)
            values = self._values(seen, working, tool, content)
            with self._store.mutex:
                refuse_locked(self._store.seen(case, reader), change, ())
                self._store.log.append("mask", values, lambda entry: self._name(entry, pending, target))
        except BaseException:
            remove(pending)
            raise
        working.sha256, working.dirty = content, False
        return self._saved(self._store.seen(case, reader), working, change.voxels)

    def _apply(self, working: Working, change: Change, tool: str, folder: Path, reader: str) -> None:
        """Make a change in memory and in the journal."""
        start = working.state.sha256
        if working.journal is None:
            working.journal = open_journal(folder, start, self._store.tell)
        change.apply(working.array)
        working.state.update(working.array, change.box)
        for value, counts in changes(change.before, change.after).items():
            working.voxels[value] = working.voxels.get(value, 0) + counts.gained - counts.lost
        if tool == "undo":
            working.journal.undo()
        elif tool == "redo":
            working.journal.redo()
        else:
            working.journal.record(change, reader, tool, start, working.state.sha256)

    def _written(self, row: Row, working: Working, pending: Path) -> str:
        """Write the whole mask, with as many axes as the model's has; gives its SHA-256."""
        flat = any("mm2" in found for found in row.structures.values())
        array = working.array[..., 0] if flat else working.array
        labels = Labels.of({name: int(found["value"]) for name, found in row.structures.items()})
        write(Volume(array, working.affine, dims=array.ndim), pending, self._store.catalogue, labels)
        settle(pending.parent)
        return sha256(pending)

    def _name(self, entry: dict[str, Any], pending: Path, target: Path) -> None:
        """A line names the mask: give it its final name. Without that the next start does it."""
        with suppress(OSError):
            pending.replace(target)
        self._store.state.take(entry)

    def _values(self, seen: Seen, working: Working, tool: str, content: str) -> dict[str, Any]:
        counts, journal = changes(working.model, working.array), working.journal
        values = values_of(seen.row)
        return {
            "case": seen.row.case,
            "reader": seen.reader,
            "sha256": content,
            "base": working.sha256,
            "model_mask": seen.model_mask,
            "tool": tool,
            "position": journal.position if journal else 0,
            "ahead": len(journal.entries) - journal.position if journal else 0,
            "changed": {str(value): counts[value].changed for value in values if value in counts},
            "voxels": {str(value): working.voxels.get(value, 0) for value in values},
        }

    def _saved(self, seen: Seen, working: Working, voxels: int) -> Saved:
        journal = working.journal
        ml = float(abs(np.linalg.det(working.affine[:3, :3]))) / 1000
        can_undo, can_redo = (journal.can_undo, journal.can_redo) if journal else (False, False)
        return Saved(working.sha256, voxels, structures_of(seen.row, seen.mine, ml), can_undo, can_redo)


def refuse_locked(seen: Seen, change: Change, locked: Collection[int]) -> None:
    """Refuse a change of a structure that is finished, or that the page has locked.

    Args:
        seen: The scan as the reader sees it.
        change: What would be changed.
        locked: Values of the structures that the page has locked.

    Raises:
        Conflict: `locked` says how many voxels of which structure it would change.
    """
    if touched := broken(change.before, change.after, {*seen.finished.values(), *locked}):
        raise Conflict("a finished or locked structure would change; nothing was saved", locked=names(seen, touched))


def values_of(row: Row) -> list[int]:
    """The values of a scan's structures."""
    return [int(found["value"]) for found in row.structures.values()]


def names(seen: Seen, values: Mapping[int, int]) -> dict[str, int]:
    """Name of a structure -> voxels, from its value."""
    known = {int(found["value"]): name for name, found in seen.row.structures.items()}
    return {known.get(value, "background" if value == 0 else str(value)): number for value, number in values.items()}


def structures_of(row: Row, mine: SavedMask | None, voxel_ml: float) -> list[dict[str, Any]]:
    """What each structure has in a reader's mask.

    Args:
        row: Of the ledger.
        mine: The reader's mask; None for the model's.
        voxel_ml: Volume of a voxel in mL.
    """
    found = []
    for name, structure in row.structures.items():
        value = str(structure["value"])
        voxels = int(mine.voxels.get(value, 0)) if mine else int(structure.get("voxels") or 0)
        changed = int(mine.changed.get(value, 0)) if mine else 0
        ml = round(voxels * voxel_ml, 4) if structure.get("ml") is not None else None
        found.append({"value": int(value), "name": name, "voxels": voxels, "ml": ml, "changed": changed})
    return found


def settle_masks(root: Path, masks: Mapping[Path, str], tell: Callable[[str], None]) -> None:
    """Put right what a process left that was killed while it saved a mask.

    Args:
        root: The folder of all masks.
        masks: Path -> SHA-256 that the log gives it.
        tell: Is told what was done.
    """
    for pending in sorted(root.glob(f"*/{NEXT}*")):
        target = pending.with_name(pending.name.removeprefix(NEXT))
        with suppress(OSError):
            content = sha256(pending)
            if masks.get(target) == content:
                pending.replace(target)
                continue
            aside = target.with_name(f"{target.name.removesuffix('.nii.gz')}.unsaved-{content[:12]}.nii.gz")
            pending.replace(aside)
            tell(f"a process was killed before a mask of {pending.parent.name} was saved; it is kept as {aside.name}")
