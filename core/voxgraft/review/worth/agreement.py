"""How readers agree: with each other on scans that several finished, and with references that they were not told.

Adjudicators are in no pair, for they saw the masks of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from statistics import fmean, median
from typing import Any

from ...errors import VoxGraftError
from ..state.records import ACCEPTED, ADJUDICATOR, CORRECTED
from ..state.viewing import MASK
from .comparing import Comparisons, MaskFile, Measured
from .facts import final_mask
from .snapshot import Reading, Snapshot, readings


@dataclass(frozen=True, slots=True)
class Pair:
    """Two readings of one scan, or one reading and its reference; the second reader is empty for a reference.

    Attributes:
        structures: Those that both are done with, in both masks.
    """

    case: str
    readers: tuple[str, str]
    structures: Mapping[str, Measured]


def pairs_of(snapshot: Snapshot, comparisons: Comparisons) -> list[Pair]:
    """Every two readers of a scan who finished it, by the model's mask that it has now."""
    found = []
    for _, group in groupby(_finished(snapshot), key=lambda reading: reading.case):
        for first, second in combinations(list(group), 2):
            files = final_mask(first, snapshot), final_mask(second, snapshot)
            if (pair := _pair(first, second.reader, files, snapshot, comparisons, second)) is not None:
                found.append(pair)
    return found


def references_of(snapshot: Snapshot, comparisons: Comparisons) -> list[Pair]:
    """Every finished reading of a scan that has a reference, compared with it."""
    found = []
    for reading in _finished(snapshot):
        if (known := snapshot.state.references.get(reading.case)) is None:
            continue
        reference = MaskFile(snapshot.folder.reference(reading.case), known)
        files = final_mask(reading, snapshot), reference
        if (pair := _pair(reading, "", files, snapshot, comparisons)) is not None:
            found.append(pair)
    return found


def agreement(pairs: Sequence[Pair]) -> dict[str, Any]:
    """STRUCTURE -> how many pairs there are, and their Dice, surface Dice and difference of volumes."""
    names = dict.fromkeys(name for pair in pairs for name in pair.structures)
    return {name: _together([pair.structures[name] for pair in pairs if name in pair.structures]) for name in names}


def _together(rows: Sequence[Measured]) -> dict[str, Any]:
    dice = [row.dice for row in rows if row.dice is not None]
    surface = [row.surface_dice for row in rows if row.surface_dice is not None]
    volumes = [
        abs(row.ml_after - row.ml_before) for row in rows if row.ml_after is not None and row.ml_before is not None
    ]
    return {
        "n": len(rows),
        "undefined": len(rows) - len(dice),
        "dice_mean": fmean(dice) if dice else None,
        "dice_median": median(dice) if dice else None,
        "dice_min": min(dice, default=None),
        "surface_dice_mean": fmean(surface) if surface else None,
        "ml_difference_mean": fmean(volumes) if volumes else None,
    }


def _finished(snapshot: Snapshot) -> Iterator[Reading]:
    for reading in readings(snapshot):
        row = snapshot.rows.get(reading.case)
        current = row is not None and row.outputs.get(MASK) == reading.mask_before
        if row is not None and current and reading.is_done(row) and reading.role != ADJUDICATOR:
            yield reading


def _pair(
    reading: Reading,
    other: str,
    files: tuple[MaskFile, MaskFile],
    snapshot: Snapshot,
    comparisons: Comparisons,
    second: Reading | None = None,
) -> Pair | None:
    """None where a mask is gone."""
    row = snapshot.rows[reading.case]
    try:
        measured = comparisons.of(row, *files)
    except VoxGraftError:
        return None
    both = [reading] if second is None else [reading, second]
    names = [name for name in measured if all(_drew(one, name) for one in both)]
    return Pair(reading.case, (reading.reader, other), {name: measured[name] for name in names})


def _drew(reading: Reading, structure: str) -> bool:
    decision = reading.of(structure)
    return decision is not None and decision.verdict in (ACCEPTED, CORRECTED)
