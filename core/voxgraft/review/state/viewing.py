"""Who may see what: blind double reading hides readers from each other until both are done."""

from __future__ import annotations

from dataclasses import dataclass

from ...batch.ledger import Row
from .records import ADJUDICATOR, READER, SECOND, Decision, Note, SavedMask
from .state import ScanState

MASK = "mask.nii.gz"
"""The mask of the model that is looked at and corrected."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A scan as one reader may see it.

    Attributes:
        reader: Who looks; empty for somebody without a name.
    """

    row: Row
    state: ScanState
    reader: str

    @property
    def model_mask(self) -> str:
        """SHA-256 of the model's mask file; empty while there is none."""
        return self.row.outputs.get(MASK, "") if self.row.state == "done" else ""

    @property
    def role(self) -> str:
        return self.state.role_of(self.reader)

    @property
    def doubles(self) -> tuple[str, ...]:
        """The readers who are to read this scan without knowing of each other."""
        readers = dict.fromkeys(one.reader for one in self.state.assignments if one.role in (READER, SECOND))
        return tuple(readers) if len(readers) > 1 else ()

    @property
    def blind(self) -> bool:
        """Whether others are hidden from this reader."""
        return bool(self.doubles) and self.role != ADJUDICATOR and not all(map(self.done_by, self.doubles))

    def of_others(self, reader: str) -> bool:
        """Whether what this other reader did may be seen."""
        return reader == self.reader or not self.blind

    @property
    def decisions(self) -> list[Decision]:
        """All that may be seen, in the order in which they were made."""
        return [decision for decision in self.state.decisions if self.of_others(decision.reader)]

    @property
    def notes(self) -> list[Note]:
        return [note for note in self.state.notes.values() if self.of_others(note.reader)]

    @property
    def masks(self) -> dict[str, SavedMask]:
        return {reader: mask for reader, mask in self.state.masks.items() if self.of_others(reader)}

    @property
    def mine(self) -> SavedMask | None:
        return self.state.masks.get(self.reader) if self.reader else None

    @property
    def mask(self) -> str:
        """SHA-256 of the mask that this reader works on."""
        return self.mine.sha256 if self.mine else self.model_mask

    @property
    def superseded(self) -> bool:
        """Whether this reader's mask was made from one of the model's that another has replaced."""
        return self.mine is not None and self.mine.model_mask != self.model_mask

    @property
    def own(self) -> dict[str, Decision]:
        """What this reader decided, as it holds now."""
        return self.state.current(self.reader, self.model_mask)

    @property
    def holds(self) -> dict[str, Decision]:
        """What holds, as this reader may know it."""
        return self.own if self.blind else self.state.current(None, self.model_mask)

    def done_by(self, reader: str) -> bool:
        """Whether a reader has decided about the scan as a whole, or about each of its structures."""
        return is_done(self.state.current(reader, self.model_mask), self.row)

    @property
    def finished(self) -> dict[str, int]:
        """Name -> value of the structures that this reader has decided about: they are walls until reopened."""
        values = {name: int(structure["value"]) for name, structure in self.row.structures.items()}
        own = self.own
        return values if "" in own else {name: value for name, value in values.items() if name in own}

    @property
    def review_state(self) -> str:
        """`open`, `started` or `reviewed`; empty where there is nothing to review."""
        if self.row.state not in ("done", "failed"):
            return ""
        holds = self.holds
        return "reviewed" if is_done(holds, self.row) else "started" if holds else "open"


def is_done(decisions: dict[str, Decision], row: Row) -> bool:
    """Whether these decisions are about a scan as a whole, or about each of its structures."""
    return "" in decisions or (bool(row.structures) and all(name in decisions for name in row.structures))
