"""Which reading of a scan counts in the end, and why none does where none does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...batch.ledger import Row
from ...errors import DataError
from ...imaging.read import read
from ...imaging.volume import Item, Volume
from ...labels.label_map import integer_mask
from ...labels.masks import in_grid_of
from ..state.records import ACCEPTED, ADJUDICATOR, CORRECTED
from ..state.viewing import MASK
from .comparing import MaskFile
from .facts import final_mask
from .snapshot import Reading, Snapshot, readings_of

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

DONE = (ACCEPTED, CORRECTED)
"""Verdicts after which a structure's mask is final."""


@dataclass(frozen=True, slots=True)
class Final:
    """The reading of a scan that counts.

    Attributes:
        mask: The reader's mask, or the model's where nothing was changed.
        verdicts: By structure, for those that have one.
    """

    row: Row
    reading: Reading
    mask: MaskFile
    verdicts: Mapping[str, str]

    @property
    def case(self) -> str:
        return self.reading.case

    @property
    def done(self) -> tuple[str, ...]:
        """The structures that are accepted or corrected, in the order of the model."""
        return tuple(name for name in self.row.structures if self.verdicts.get(name) in DONE)

    @property
    def others(self) -> dict[str, str]:
        """Structures whose mask is not final, each with its verdict; `open` where nobody decided."""
        verdicts = ((name, self.verdicts.get(name, "open")) for name in self.row.structures)
        return {name: verdict for name, verdict in verdicts if verdict not in DONE}


def final_of(snapshot: Snapshot, case: str, reader: str = "") -> Final | str:
    """The reading of a scan that counts, or why there is none, as the end of a sentence.

    An adjudicator's counts before all others. Of several readers who finished a scan none counts before the others,
    unless their masks are the same.

    Args:
        reader: The one whose readings count; by default see above.
    """
    row, scan = snapshot.rows.get(case), snapshot.state.of(case)
    if row is None:
        return "it is no longer in the ledger"
    found = list(readings_of(case, scan))
    own = [one for one in found if one.mask_before == row.outputs.get(MASK) and reader in ("", one.reader)]
    if not own:
        if any(reader in ("", one.reader) for one in found):
            return "nobody decided about it since it was segmented again"
        return f"{reader!r} did not decide about it" if reader else "nobody decided about it"
    if (reading := next((one for one in own if one.role == ADJUDICATOR and one.is_done(row)), None)) is None:
        finished = [one for one in own if one.is_done(row)] or own
        if len({final_mask(one, snapshot).sha256 for one in finished}) > 1 or _differ(finished, row):
            names = " and ".join(sorted({one.reader for one in finished}))
            return f"{names} read it and differ; let an adjudicator decide, or name one of them with --reader"
        reading = finished[0]
    mask = final_mask(reading, snapshot)
    saved = scan.masks.get(reading.reader)
    changed = saved.changed if saved is not None and saved.sha256 == mask.sha256 else {}
    verdicts = {name: verdict for name in row.structures if (verdict := _verdict(reading, row, name, changed))}
    return Final(row, reading, mask, verdicts)


def _verdict(reading: Reading, row: Row, structure: str, changed: Mapping[str, int]) -> str:
    """What holds of a structure; a decision about the scan as a whole is told of each by what was changed of it."""
    decision = reading.of(structure)
    if decision is None:
        return ""
    if decision.structure == structure or decision.verdict not in DONE:
        return decision.verdict
    return CORRECTED if changed.get(str(row.structures[structure]["value"])) else ACCEPTED


def placed(final: Final, item: Item, catalogue: Catalogue) -> Volume:
    """The final mask in the grid and the order of axes of its scan.

    Args:
        item: The scan as its header describes it; its voxels are not read.

    Raises:
        DataError: The mask is no longer there, is another one, lies on another grid, or its structures overlap.
    """
    final.mask.check()
    mask = integer_mask(read(final.mask.path, catalogue), final.case)
    if mask.channels > 1:
        raise DataError(f"{final.case}: its structures overlap; a reviewed mask holds one value per voxel")
    like = Volume(np.broadcast_to(np.uint8(0), item.shape), item.affine, dims=len(item.shape), item=item)
    if like.dims == 2 and mask.dims == 3:  # the page's masks have three axes
        mask = Volume(mask.array[..., 0], mask.affine, dims=2)
    return Volume(in_grid_of(mask, like, final.case, "the final mask").array, like.affine, dims=like.dims, item=item)


def _differ(readings: list[Reading], row: Row) -> bool:
    """Whether readers with equal masks differ in what they decided."""
    return any(len({_is_done(one, name) for one in readings}) > 1 for name in row.structures)


def _is_done(reading: Reading, structure: str) -> bool:
    decision = reading.of(structure)
    return decision is not None and decision.verdict in DONE
