"""The review of a batch as it lies on disk: what summaries and exports are made from, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch.entry import REVIEW
from ...batch.ledger import Row
from ...batch.ledger_view import BatchView
from ..state.audit import AUDIT, Read, read_log
from ..state.folder import Folder, check_out
from ..state.records import REOPENED, Decision
from ..state.state import ReviewState, ScanState
from ..state.viewing import MASK, Seen, is_done

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A batch and what people decided about it.

    Attributes:
        rows: Of the ledger, by case.
        log: The audit log with the faults of its chain.
    """

    out: Path
    catalogue: Catalogue
    rows: Mapping[str, Row]
    state: ReviewState
    log: Read

    @property
    def folder(self) -> Folder:
        """Where things of the review are."""
        return Folder(self.out, writable=False)

    def model_mask(self, case: str) -> Path:
        """What the model found in a scan; it is never changed."""
        return self.out / case / MASK


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader decided about one mask of the model.

    Attributes:
        mask_before: SHA-256 of the model's mask file.
        decisions: Those that hold, by structure; the scan as a whole is the empty name.
        seconds: How long the reader was at the scan, decisions that were taken back included.
    """

    case: str
    reader: str
    mask_before: str
    decisions: Mapping[str, Decision]
    seconds: float

    @property
    def when(self) -> str:
        """When the last decision was made."""
        return max((decision.when for decision in self.decisions.values()), default="")

    @property
    def role(self) -> str:
        return next((decision.role for decision in self.decisions.values() if decision.role), "")

    def of(self, structure: str) -> Decision | None:
        """What holds for a structure: its own decision, or that about the scan as a whole."""
        return self.decisions.get(structure) or self.decisions.get("")

    def is_done(self, row: Row) -> bool:
        """Whether the reader has decided about the scan as a whole, or about each of its structures."""
        return is_done(dict(self.decisions), row)


def take_snapshot(out: Path, catalogue: Catalogue) -> Snapshot:
    """Read the ledger and the log of a batch; a batch that nobody has reviewed has an empty log.

    Raises:
        UsageError: No batch left this folder.
        DataError: The ledger or the log cannot be read.
    """
    check_out(out)
    _, rows = BatchView(out).rows()
    log = read_log(out / REVIEW / AUDIT)
    return Snapshot(out, catalogue, rows, ReviewState().replay(log.entries), log)


def for_everybody(snapshot: Snapshot) -> Snapshot:
    """What every reader may know of: without scans that are being read blindly, and without references.

    Single values of a chart would tell a blind reader what the other one changed, and a reader's agreement with
    references which of the scans have one: it grows by one just after such a scan.
    """
    state = snapshot.state
    blind = {case for case, row in snapshot.rows.items() if Seen(row, state.of(case), "").blind}
    scans = {case: scan for case, scan in state.scans.items() if case not in blind}
    return replace(snapshot, state=replace(state, scans=scans, references={}))


def readings(snapshot: Snapshot) -> Iterator[Reading]:
    """What readers decided, one by one, in the order in which each first looked at a scan."""
    for case, scan in snapshot.state.scans.items():
        yield from readings_of(case, scan)


def readings_of(case: str, scan: ScanState) -> Iterator[Reading]:
    """What each reader decided about each mask that a model made of one scan."""
    held: dict[tuple[str, str], dict[str, Decision]] = {}
    spent: dict[tuple[str, str], float] = {}
    for decision in scan.decisions:
        key = decision.reader, decision.mask_before
        current = held.setdefault(key, {})
        spent[key] = spent.get(key, 0.0) + max(0.0, decision.seconds)
        if decision.verdict == REOPENED:
            current.pop(decision.structure, None)
        else:
            current[decision.structure] = decision
    for (reader, mask), decisions in held.items():
        if decisions:
            yield Reading(case, reader, mask, decisions, spent[reader, mask])
