"""The state of a review on disk: what a batch left, what readers decided, and the rules by which both meet."""

from __future__ import annotations

import re
import secrets
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ...batch.batch_view import BatchView
from ...batch.ledger import Row
from ...batch.outputs import PREVIEW
from ...errors import DataError, VoxGraftError
from ...imaging.read import as_in_training
from ...imaging.volume import Array, spacing_of
from ...support.texts import legible
from .audit import AuditLog
from .correcting import Corrector
from .editing import Editor, settle_masks
from .errors import Conflict, Forbidden, NotThere, Refused
from .folder import Folder, checked_reader, open_folder
from .identities import Identities
from .images import Image, Images
from .masks import grid_of
from .models import Models
from .records import (
    ACCEPTED,
    ADJUDICATOR,
    CORRECTED,
    REJECTED,
    REOPENED,
    VERDICTS,
    Assignment,
    Decision,
    Note,
    SavedMask,
    document,
)
from .sources import Gone
from .state import ReviewState
from .viewing import MASK, Seen
from .windows import colour_of
from .worklist import Ordered, Query, listed, ordered

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

LONGEST_TEXT = 4000
"""Letters of a note."""
DAY = 86400.0
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:]+/)*")
"""The folders of an absolute path."""


class ReviewStore:
    """Everything that is known of the scans of a batch and of what readers decided; for one process.

    Args:
        out: The batch's folder.
        catalogue: Whose readers read the scans.
        write: Take the review's lock, so that decisions can be saved; False only looks, beside a server too.

    Raises:
        UsageError: No batch left this folder.
        DataError: Another server works here, or a file cannot be read.
    """

    def __init__(self, out: Path, catalogue: Catalogue, *, write: bool = True) -> None:
        self.folder: Folder = open_folder(out, write=write)
        try:
            self.ledger = BatchView(out)
            self.log = AuditLog(self.folder.root, self.folder.writable)
        except BaseException:
            self.folder.close()
            raise
        self.out, self.catalogue = out, catalogue
        self.state = ReviewState().replay(self.log.entries)
        self.log.entries.clear()  # the state holds what they say
        self.models = Models(self.folder.root / "models")
        self.images = Images(out, self._cache())
        self.identities = Identities(out, catalogue)
        self.mutex = threading.RLock()
        self._order: Ordered | None = None
        self.editor = Editor(self)
        self.corrector = Corrector(self, self.editor)
        self._grids: dict[str, tuple[tuple[int, ...], Array]] = {}
        if self.folder.writable:
            settle_masks(self.folder.root / "masks", self._mask_files(), self.tell)

    def close(self) -> None:
        """End: the lock is given back, and the log closed."""
        self.identities.close()
        self.editor.kept.close()
        self.log.close()
        self.folder.close()

    def _cache(self) -> Path:
        """Where converted scans are kept: below the review, or for as long as the process lives."""
        if self.folder.writable:
            return self.folder.cache
        self._temporary = tempfile.TemporaryDirectory(prefix="voxgraft-review-")
        return Path(self._temporary.name)

    @property
    def told(self) -> list[str]:
        """What a person should know of this review, one sentence each: a broken chain, a read-only folder."""
        return [*self.log.told, *self.folder.told]

    def tell(self, message: str) -> None:
        """Say something on the page and where the server was started."""
        self.folder.told.append(message)

    def check_writable(self) -> None:
        """Refuse what changes something where nothing may be written.

        Raises:
            Forbidden: It is so.
        """
        if not self.folder.writable:
            raise Forbidden("this folder may not be written: scans can be looked at, not decided or corrected")

    def _mask_files(self) -> dict[Path, str]:
        return {
            self.folder.mask(case, reader): mask.sha256
            for case, scan in self.state.scans.items()
            for reader, mask in scan.masks.items()
        }

    @property
    def readers(self) -> list[str]:
        return sorted(self.state.readers)

    @property
    def has_doubles(self) -> bool:
        """Whether some scan is read twice, without the readers knowing of each other."""
        return any(Seen(row, self.state.of(case), "").doubles for case, row in self.rows.items())

    @property
    def reasons(self) -> list[str]:
        return self.models.reasons(self.rows)

    @property
    def rows(self) -> dict[str, Row]:
        return self.ledger.rows()[1]

    def seen(self, case: str, reader: str) -> Seen:
        """A scan as a reader may see it.

        Raises:
            NotThere: The ledger knows no such scan.
        """
        row = self.rows.get(case)
        if row is None:
            raise NotThere("there is no such scan in this batch")
        return Seen(row, self.state.of(case), reader)

    def all_seen(self, reader: str) -> list[Seen]:
        return [Seen(row, self.state.of(case), reader) for case, row in self.rows.items()]

    def decisions(self, case: str | None = None) -> list[Decision]:
        """Every decision that was ever made, or those about one scan, in their order."""
        cases = list(self.state.scans) if case is None else [case]
        return [decision for one in cases for decision in self.state.of(one).decisions]

    def assignments(self) -> list[Assignment]:
        return [one for scan in list(self.state.scans.values()) for one in scan.assignments]

    def worklist(self, query: Query, reader: str) -> dict[str, Any]:
        """What the page shows of the list; see `voxgraft.review.state.worklist`."""
        with self.mutex:
            scans = {one.row.case: one for one in self.all_seen(reader)}
            answer = listed(scans, self._ordered(), query, self.identities.known)
        self.identities.want(self.rows[entry["case"]] for entry in answer["scans"])
        return {**answer, "running": self.ledger.running(), "reading": self.identities.busy}

    def _ordered(self) -> Ordered:
        version, rows = self.ledger.rows()
        if self._order is None or self._order.version != version:
            self._order = ordered(version, rows.values())
        return self._order

    def scan(self, case: str, reader: str) -> dict[str, Any]:
        """What the page shows of one scan; see the contract in `docs/review_server.md`.

        Raises:
            NotThere: There is no such scan.
        """
        seen = self.seen(case, reader)
        row = seen.row
        image, problem = self._image_or_reason(row)
        grid, cannot = self._grid_or_reason(seen, image)
        rows = self.rows
        order = [one for one in self._ordered().cases if one in rows and rows[one].state in ("done", "failed")]
        place = order.index(case) if case in order else -1
        identity = self.identities.of(row)
        return {
            "case": case,
            "state": row.state,
            "review_state": seen.review_state,
            "error": row.error or None,
            "next": order[place + 1] if 0 <= place < len(order) - 1 else None,
            "previous": order[place - 1] if place > 0 else None,
            **grid,
            "modality": image.modality if image else identity.modality,
            "channels": list(image.channels) if image else [],
            "image_tag": image.tag if image else None,
            "image_error": problem,
            "windows": [asdict(window) for window in image.windows] if image else [],
            "structures": self._structures(seen, np.array(grid["affine"])),
            "flags": [dict(flag) for flag in row.flags],
            "notes": [document(note) for note in seen.notes],
            "decisions": [document(decision) for decision in seen.decisions],
            "masks": self._masks(seen),
            "mask": {"id": "mine" if seen.mine else "model", "sha256": seen.mask},
            "mask_error": cannot,
            "superseded": seen.superseded,
            "preview": f"/api/scans/{quote(case)}/preview" if PREVIEW in row.outputs else None,
            "accession": identity.accession,
            "study_date": identity.study_date,
            "description": identity.description,
            "model": row.model,
            "assigned": seen.role or None,
            "blind": seen.blind,
            "can_undo": bool(seen.mine and seen.mine.position),
            "can_redo": bool(seen.mine and seen.mine.ahead),
        }

    def image(self, case: str, channel: int, reader: str) -> Image:
        """One channel of a scan as NIfTI.

        Args:
            case: The scan.
            channel: Its number, from 0 on.
            reader: Who looks.

        Raises:
            NotThere: There is no such scan, or its image is gone, has changed or cannot be read.
        """
        row = self.seen(case, reader).row
        try:
            return self._image(row, channel)
        except VoxGraftError as error:
            raise NotThere(plain(error)) from error

    def preview(self, case: str, reader: str) -> Path:
        """The picture that the batch drew of a scan.

        Raises:
            NotThere: There is none.
        """
        row = self.seen(case, reader).row
        path = self.out / row.case / PREVIEW
        if PREVIEW not in row.outputs or not path.is_file():
            raise NotThere("there is no picture of this scan")
        return path

    def mask_file(self, case: str, which: str, reader: str) -> tuple[Path, str]:
        """A mask file and its SHA-256.

        Args:
            which: `model`, `mine`, or the name of a reader.

        Raises:
            NotThere: There is no such mask, or it may not be seen.
        """
        seen = self.seen(case, reader)
        if which == "model":
            path = self.out / case / MASK
            if not seen.model_mask or not path.is_file():
                raise NotThere(no_mask(seen.row))
            return path, seen.model_mask
        saved = seen.mine if which == "mine" else seen.masks.get(which)
        if saved is None:
            raise NotThere("there is no such mask of this scan")
        return self.folder.mask(case, saved.reader), saved.sha256

    def enter(self, name: str) -> str:
        """The name of a reader who begins to work.

        Raises:
            Refused: It cannot be one.
        """
        with self.mutex:
            name = checked_reader(name, self.state.readers)
            if name not in self.state.readers and self.folder.writable:
                self.log.append("reader", {"reader": name}, self.state.take)
        return name

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
            NotThere: There is no such scan or structure.
            Refused: It is no verdict or reason, or nobody says who decides.
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
            values = {name: value for name, value in document(decision).items() if name != "when"}
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
                raise Refused(f"a note has 1 to {LONGEST_TEXT} letters")
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
            raise Refused(f"a note has at most {LONGEST_TEXT} letters")
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

    def _image(self, row: Row, channel: int) -> Image:
        facts = self.models.of(row)
        catalogue = as_in_training(facts.readers, self.catalogue) if facts.readers else self.catalogue
        return self.images.get(row, channel, catalogue, modality=facts.modality, names=facts.channels)

    def _image_or_reason(self, row: Row) -> tuple[Image | None, str | None]:
        try:
            return self._image(row, 0), None
        except VoxGraftError as error:
            return None, plain(error)

    def grid(self, seen: Seen) -> tuple[tuple[int, ...], Array]:
        """Shape (i, j, k) and affine of the model's mask of a scan; read once for each mask.

        Raises:
            DataError: It cannot be read.
        """
        key = seen.model_mask
        if key not in self._grids:
            self._grids[key] = grid_of(self.out / seen.row.case / MASK)
        return self._grids[key]

    def _grid_or_reason(self, seen: Seen, image: Image | None) -> tuple[dict[str, Any], str | None]:
        """Shape, affine and spacing of the model's mask, or of the image where there is none; and why there is none."""
        shape, affine = (image.shape, np.array(image.affine)) if image else ((), np.eye(4))
        problem = None if seen.model_mask else no_mask(seen.row)
        if seen.model_mask:
            try:
                shape, affine = self.grid(seen)
            except DataError as error:
                problem = plain(error)
        spacing = [round(step, 6) for step in spacing_of(affine)] if shape else []
        return {"shape": list(shape), "affine": affine.tolist() if shape else [], "spacing_mm": spacing}, problem

    def _structures(self, seen: Seen, affine: Array) -> list[dict[str, Any]]:
        """The structures of a scan; volumes are those of the mask that the reader works on."""
        own, finished, mine = seen.own, seen.finished, seen.mine
        voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / 1000 if affine.size else 0.0
        rows = []
        for place, (name, found) in enumerate(seen.row.structures.items()):
            ml = found.get("ml")
            if mine and ml is not None:
                ml = round(mine.voxels.get(str(found.get("value")), 0) * voxel_ml, 4)
            rows.append(
                {
                    "value": found.get("value"),
                    "name": name,
                    "color": colour_of(place),
                    "ml": ml,
                    "model_ml": found.get("ml"),
                    "confidence": found.get("confidence"),
                    "verdict": own[name].verdict if name in own else None,
                    "locked": name in finished,
                    "changed": int(mine.changed.get(str(found.get("value")), 0)) if mine else 0,
                }
            )
        return rows

    def _masks(self, seen: Seen) -> list[dict[str, Any]]:
        masks: list[dict[str, Any]] = []
        if seen.model_mask:
            masks.append({"id": "model", "label": seen.row.model, "sha256": seen.model_mask, "reader": None})
        for reader, mask in seen.masks.items():
            mine = reader == seen.reader
            label = "my mask" if mine else reader
            masks.append({"id": "mine" if mine else reader, "label": label, "sha256": mask.sha256, "reader": reader})
        return masks


def no_mask(row: Row) -> str:
    """Why there is no mask to look at."""
    if row.state == "failed":
        return f"the scan has failed: {row.error}"
    if row.state == "done":
        return f"the batch wrote no {MASK} of this scan; segment it with the writer nifti to see and correct its mask"
    return "the scan is not segmented yet, or is being segmented again; come back when that is done"


def plain(error: VoxGraftError) -> str:
    """One sentence for the page, without places of this machine."""
    if isinstance(error, (Gone, Refused)):
        return str(error)
    return legible(_FOLDERS.sub("", str(getattr(error, "reason", "") or error)))[:500]


def named(reader: str) -> str:
    if not reader:
        raise Forbidden("say who you are first: choose a reader's name")
    return reader


def _verdict(seen: Seen, saw: SavedMask | None, structure: str, verdict: str) -> str:
    """What a verdict is, given what the reader changed: accepting a change is a correction."""
    if verdict not in (ACCEPTED, CORRECTED):
        return verdict
    changed: Mapping[str, int] = saw.changed if saw else {}
    value = str(seen.row.structures[structure]["value"]) if structure else ""
    touched = bool(changed.get(value)) if structure else any(changed.values())
    if verdict == CORRECTED and not touched and seen.role != ADJUDICATOR:
        raise Refused("nothing of it was changed: accept it, or save a correction first")
    return CORRECTED if touched else ACCEPTED
