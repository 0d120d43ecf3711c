"""The audit log as what holds now: decisions, notes, masks and assignments, by scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .records import ADJUDICATOR, GOLD, REOPENED, Assignment, Decision, Note, SavedMask, from_document


@dataclass(slots=True)
class ScanState:
    """What is known of one scan.

    Attributes:
        decisions: All of them, in the order in which they were made; later ones replace earlier ones.
        masks: The last mask of each reader.
    """

    decisions: list[Decision] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)
    masks: dict[str, SavedMask] = field(default_factory=dict)
    assignments: list[Assignment] = field(default_factory=list)

    def current(self, reader: str | None, model_mask: str) -> dict[str, Decision]:
        """The decisions that hold about a mask of the model, by structure.

        Args:
            reader: Whose; None for those of all readers, where an adjudicator's count before others and later ones
                before earlier ones.
            model_mask: SHA-256 of the model's mask file as it is now: a decision about another one holds no longer.
        """
        found: dict[str, Decision] = {}
        for decision in self.decisions:
            if decision.mask_before != model_mask or (reader is not None and decision.reader != reader):
                continue
            known = found.get(decision.structure)
            if reader is None and known and known.role == ADJUDICATOR and decision.role != ADJUDICATOR:
                continue
            if decision.verdict == REOPENED:
                if known is None or reader is not None or known.reader == decision.reader:
                    found.pop(decision.structure, None)
                continue
            found[decision.structure] = decision
        return found

    def role_of(self, reader: str) -> str:
        """What a reader is for this scan; empty where nobody assigned it to him."""
        roles = [one.role for one in self.assignments if one.reader == reader and one.role != GOLD]
        return roles[0] if roles else ""


@dataclass(slots=True)
class ReviewState:
    """Everything that the log says."""

    scans: dict[str, ScanState] = field(default_factory=dict)
    readers: dict[str, None] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    skipped: int = 0

    def of(self, case: str) -> ScanState:
        return self.scans.get(case) or ScanState()

    def replay(self, entries: Iterable[Mapping[str, Any]]) -> ReviewState:
        for entry in entries:
            self.take(entry)
        return self

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take in one line of the log; one that is of no known form is counted."""
        try:
            self._take(str(entry["kind"]), entry)
        except (KeyError, TypeError, ValueError):
            self.skipped += 1

    def _take(self, kind: str, entry: Mapping[str, Any]) -> None:
        if kind == "reader":
            self._known(entry)
            return
        scan = self.scans.setdefault(str(entry["case"]), ScanState())
        if kind == "decision":
            scan.decisions.append(from_document(Decision, entry))
        elif kind == "mask":
            mask = from_document(SavedMask, entry)
            scan.masks = {**scan.masks, mask.reader: mask}  # threads may be looking at the old ones
        elif kind == "note":
            note = from_document(Note, entry)
            scan.notes = {**scan.notes, note.id: note}
        elif kind == "note-removed":
            scan.notes = {name: note for name, note in scan.notes.items() if name != entry["id"]}
        elif kind == "assignment":
            self._assign(scan, entry)
        else:
            self.skipped += 1
        self._known(entry)

    def _known(self, entry: Mapping[str, Any]) -> None:
        if (reader := str(entry.get("reader") or "")) and reader not in self.readers:
            self.readers = {**self.readers, reader: None}

    def _assign(self, scan: ScanState, entry: Mapping[str, Any]) -> None:
        given = from_document(Assignment, entry)
        scan.assignments = [one for one in scan.assignments if (one.reader, one.role) != (given.reader, given.role)]
        if not entry.get("withdrawn"):
            scan.assignments.append(given)
        if given.role == GOLD:
            self.references[given.case] = str(entry.get("sha256") or "")
