"""The decisions of readers, and the rules by which they meet what a batch left."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...support.texts import legible
from .correcting import Corrector
from .editing import Editor, settle_masks
from .errors import Conflict, Forbidden, NotThere, Refused
from .records import ACCEPTED, ADJUDICATOR, CORRECTED, REJECTED, REOPENED, VERDICTS, Decision, Note, SavedMask
from .reviewed import Reviewed, named
from .viewing import Seen

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

LONGEST_TEXT = 4000
"""Letters of a note."""
DAY = 86400.0


class ReviewStore(Reviewed):
    """What is decided, noted and corrected about the scans of a batch.

    Attributes:
        editor: Saves corrections of masks.
        corrector: Works out those of redrawn slices and clicks.
    """

    def __init__(self, out: Path, catalogue: Catalogue, *, write: bool = True) -> None:
        super().__init__(out, catalogue, write=write)
        self.editor = Editor(self)
        self.corrector = Corrector(self, self.editor)
        if self.folder.writable:
            settle_masks(self.folder.root / "masks", self._mask_files(), self.tell)

    def close(self) -> None:
        """End: the lock is given back, and the log closed."""
        self.editor.kept.close()
        super().close()

    def _mask_files(self) -> dict[Path, str]:
        return {
            self.folder.mask(case, reader): mask.sha256
            for case, scan in self.state.scans.items()
            for reader, mask in scan.masks.items()
        }

    def decide(
        self,
        case: str,
        reader: str,
        *,
        structure: str,
        verdict: str,
        mask: str,
        reason: str = "",
        note: str = "",
        seconds: float = 0.0,
    ) -> Decision:
        """Keep what a reader decided; it is on the disk when this returns.

        Accepting what the reader has changed is a correction.

        Args:
            case: The scan.
            reader: Who decides.
            structure: Its name; empty for the scan as a whole.
            verdict: One of `voxgraft.review.state.records.VERDICTS`, or `reopened`.
            mask: SHA-256 of the mask that the reader saw.
            reason: Why it is rejected.
            note: What the reader adds.
            seconds: How long the scan was open.

        Raises:
            NotThere: There is no such scan or structure, or the file of the accepted mask is gone.
            Refused: It is not a verdict or reason, or nobody says who decides.
            Conflict: The mask that was seen is no longer the one that is worked on.
        """
        self.check_writable()
        seen = self.seen(case, named(reader))
        if seen.role == ADJUDICATOR and mask != seen.mask and mask in self._masks_seen(seen):
            mask = self.editor.adopt(case, reader, mask, structure)
        with self.mutex:
            seen = self.seen(case, reader)
            self._check_decision(seen, structure, verdict, reason, note)
            saw = self._saw(seen, mask)
            if saw and verdict in (ACCEPTED, CORRECTED):
                self.mask_file(case, "mine", reader)  # what nobody can look at is not accepted
            row, facts = seen.row, self.models.of(seen.row)
            decision = Decision(
                case=case,
                structure=structure,
                verdict=_verdict(seen, saw, structure, verdict),
                reason=reason if verdict == REJECTED else "",
                reader=reader,
                seconds=round(min(max(seconds, 0.0), DAY), 1),
                model=facts.name,
                model_version=facts.version,
                model_hash=row.model_hash,
                mask_before=seen.model_mask,
                mask_after=saw.sha256 if saw else seen.model_mask,
                note=legible(note),
                role=seen.role,
            )
            values = {name: value for name, value in asdict(decision).items() if name != "when"}
            self.log.append("decision", values, self.state.take)
            return self.state.of(case).decisions[-1]

    def add_note(
        self, case: str, reader: str, text: str, place: Sequence[float] | None = None, structure: str = ""
    ) -> Note:
        """Keep a note about a scan, pinned to a place in RAS millimetres where one is given.

        Args:
            case: The scan.
            reader: Who writes.
            text: The note.
            place: RAS millimetres; None where it is about the scan.
            structure: Its name; empty where it is about none.

        Raises:
            NotThere: There is no such scan.
            Refused: It is empty or too long, or nobody says who writes it.
        """
        with self.mutex:
            seen = self.seen(case, named(reader))
            if not text.strip() or len(text) > LONGEST_TEXT:
                raise Refused(f"a note has 1 to {LONGEST_TEXT} characters")
            if structure and structure not in seen.row.structures:
                raise NotThere("there is no such structure in this scan")
            values: dict[str, Any] = {"id": secrets.token_hex(8), "case": case, "reader": reader, "text": text}
            values |= {"place_mm": list(place) if place is not None else None, "structure": structure}
            self.log.append("note", values, self.state.take)
            return self.state.of(case).notes[values["id"]]

    def remove_note(self, case: str, reader: str, number: str) -> None:
        """Take a note of one's own away; the log keeps it.

        Args:
            case: The scan.
            reader: Who removes it.
            number: The note's id.

        Raises:
            NotThere: There is no such note.
            Forbidden: It is another reader's.
        """
        with self.mutex:
            note = next((one for one in self.seen(case, named(reader)).notes if one.id == number), None)
            if note is None:
                raise NotThere("there is no such note")
            if note.reader != reader:
                raise Forbidden("the note is another reader's; only its writer can remove it")
            self.log.append("note-removed", {"case": case, "id": number, "reader": reader}, self.state.take)

    def _check_decision(self, seen: Seen, structure: str, verdict: str, reason: str, note: str) -> None:
        named(seen.reader)
        if structure and structure not in seen.row.structures:
            raise NotThere("there is no such structure in this scan")
        if verdict not in (*VERDICTS, REOPENED):
            raise Refused(f"a verdict is one of {', '.join((*VERDICTS, REOPENED))}")
        if verdict == REJECTED and reason not in self.reasons:
            raise Refused(f"a rejection needs a reason; one of: {', '.join(self.reasons)}")
        if len(note) > LONGEST_TEXT:
            raise Refused(f"a note has at most {LONGEST_TEXT} characters")
        if seen.row.state == "failed":
            if structure or verdict in (ACCEPTED, CORRECTED):
                raise Refused("the scan has failed and has no mask; it can be rejected or not assessable as a whole")
        elif not seen.model_mask and seen.row.state != "done":
            raise Conflict("the scan is being segmented; look at it again when that is done", current="")

    def _saw(self, seen: Seen, mask: str) -> SavedMask | None:
        """The reader's own mask that a decision is about; None for the model's.

        Raises:
            Conflict: It is another one by now.
        """
        if seen.superseded and mask == seen.model_mask:
            return None
        if mask != seen.mask:
            text = "the mask is no longer the one you saw"
            if not seen.mine:
                text = "the scan was segmented again since you opened it"
            raise Conflict(f"{text}; look at it again", current=seen.mask)
        return seen.mine

    def _masks_seen(self, seen: Seen) -> set[str]:
        return {seen.model_mask, *(mask.sha256 for mask in seen.masks.values())} - {""}


def _verdict(seen: Seen, saw: SavedMask | None, structure: str, verdict: str) -> str:
    """What a verdict is, given what the reader changed: accepting a change is a correction."""
    if verdict not in (ACCEPTED, CORRECTED):
        return verdict
    changed: Mapping[str, int] = saw.changed if saw else {}
    value = str(seen.row.structures[structure]["value"]) if structure else ""
    touched = bool(changed.get(value)) if structure else any(changed.values())
    if verdict == CORRECTED and not touched and seen.role != ADJUDICATOR:
        raise Refused("the structure was not changed: accept it, or save a correction first")
    return CORRECTED if touched else ACCEPTED
