"""What a review tells of a model: how much of each structure a reader had to change, and how long it took.

Dice-to-edit is the Dice of the model's mask with the reader's final one, surface-Dice-to-edit the part of their
surfaces that lies within a tolerance of the other. Where both masks are empty they are not defined, and stay so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...batch.ledger import Row
from ...errors import DataError, VoxGraftError
from ..state.records import ACCEPTED, CORRECTED, Decision
from ..state.viewing import MASK
from .comparing import UNKNOWN, Comparisons, MaskFile, Measured
from .snapshot import Reading, Snapshot, readings

NOT_MEASURED = Measured(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Fact:
    """One structure of one scan that a reader decided about.

    Attributes:
        structure: Its name; empty for a scan as a whole.
        seconds: Of the reader, until this decision since the one before.
        scanner: Manufacturer, model and station, from the scan's header.
        dice, surface_dice: Between the model's mask and the reader's final one; None where they are not defined or not
            known.
        ml_before, ml_after: Volume in the two masks; None in a 2D image.
        problem: Why it is not known what was changed, where it could be; one sentence.
    """

    case: str
    structure: str
    reader: str
    when: str
    verdict: str
    seconds: float
    model: str
    model_version: str
    model_hash: str
    scanner: str
    role: str = ""
    reason: str = ""
    dice: float | None = None
    surface_dice: float | None = None
    ml_before: float | None = None
    ml_after: float | None = None
    problem: str = ""

    @property
    def kept(self) -> bool:
        """Whether the structure was accepted as it was."""
        return self.verdict == ACCEPTED

    def document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def facts_of(snapshot: Snapshot, comparisons: Comparisons) -> list[Fact]:
    """One fact for each structure that a reader decided about, in the order of the decisions."""
    found = [fact for reading in readings(snapshot) for fact in _of_reading(reading, snapshot, comparisons)]
    return sorted(found, key=lambda fact: (fact.when, fact.case, fact.structure))


def times_of(snapshot: Snapshot, comparisons: Comparisons) -> list[Fact]:
    """One fact for each scan that a reader finished, with the seconds of all of it and no structure."""
    found = []
    for reading in readings(snapshot):
        row = snapshot.rows.get(reading.case)
        if row is not None and reading.is_done(row) and reading.seconds > 0:
            last = max(reading.decisions.values(), key=lambda decision: decision.when)
            fact = _fact("", last, reading, NOT_MEASURED, "", comparisons.scanner(row))
            found.append(fact)
    return sorted(found, key=lambda fact: (fact.when, fact.case))


def final_mask(reading: Reading, snapshot: Snapshot) -> MaskFile:
    """The mask that a reader is done with: the reader's own, or the model's where nothing was changed."""
    saved = snapshot.state.of(reading.case).masks.get(reading.reader)
    if saved is not None and saved.model_mask == reading.mask_before:
        return MaskFile(snapshot.folder.mask(reading.case, reading.reader), saved.sha256)
    return MaskFile(snapshot.model_mask(reading.case), reading.mask_before)


def _of_reading(reading: Reading, snapshot: Snapshot, comparisons: Comparisons) -> Iterator[Fact]:
    row = snapshot.rows.get(reading.case)
    known: Mapping[str, Measured] = {}
    problem = ""
    try:
        known = _measured(reading, row, snapshot, comparisons)
    except VoxGraftError as error:
        problem = str(error)
    scanner = comparisons.scanner(row) if row is not None else UNKNOWN
    names = row.structures if row is not None else ()
    for name in dict.fromkeys([*names, *filter(None, reading.decisions)]):
        if (decision := reading.of(name)) is not None:
            yield _fact(name, decision, reading, known.get(name, NOT_MEASURED), problem, scanner)


def _measured(
    reading: Reading, row: Row | None, snapshot: Snapshot, comparisons: Comparisons
) -> Mapping[str, Measured]:
    """What was changed of each structure.

    Raises:
        DataError: One of the masks is no longer there, or is another one, and nothing was measured before.
    """
    final = final_mask(reading, snapshot)
    if (earlier := comparisons.known(reading.mask_before, final.sha256)) is not None:
        return earlier
    if row is None:
        raise DataError(f"{reading.case}: is no longer in the ledger")
    if row.outputs.get(MASK) != reading.mask_before:
        raise DataError(f"{reading.case}: has been segmented again since this was decided")
    return comparisons.of(row, MaskFile(snapshot.model_mask(reading.case), reading.mask_before), final)


def _fact(name: str, decision: Decision, reading: Reading, measured: Measured, problem: str, scanner: str) -> Fact:
    """What a decision says of one structure, or with an empty name of the scan as a whole."""
    final = decision.verdict in (ACCEPTED, CORRECTED)
    verdict, dice = decision.verdict, measured.dice
    if final and name and dice is not None:  # a decision about the whole scan speaks of structures one by one
        verdict = ACCEPTED if dice == 1.0 else CORRECTED
    own = decision.structure == name
    return Fact(
        case=reading.case,
        structure=name,
        reader=reading.reader,
        when=decision.when,
        verdict=verdict,
        seconds=reading.seconds if not name else decision.seconds if own else 0.0,
        model=decision.model,
        model_version=decision.model_version,
        model_hash=decision.model_hash,
        scanner=scanner,
        role=decision.role,
        reason=decision.reason,
        dice=dice if final else None,
        surface_dice=measured.surface_dice if final else None,
        ml_before=measured.ml_before,
        ml_after=measured.ml_after if final else None,
        problem=problem if final else "",
    )
