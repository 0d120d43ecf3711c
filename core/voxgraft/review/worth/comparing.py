"""What two masks of a scan differ by, measured once: the model's and a reader's, those of two readers, a reference.

What was measured is kept below the folder of the review by the hashes of the two files. It may be removed at any time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...batch.ledger import Row
from ...batch.quality import is_sized
from ...components.choice import choose
from ...errors import DataError, VoxGraftError
from ...imaging.read import read
from ...imaging.structures import Label, Labels
from ...scoring.case import measure_case
from ...support.files import read_json, sha256, write_json
from ..state.sources import items_of
from ..state.viewing import MASK
from .snapshot import Snapshot

TOLERANCE = 2.0
"""Millimetres by which two surfaces may differ and still agree."""

KEPT = "measured.json"
UNKNOWN = "unknown"
"""The scanner of a scan whose header does not name it."""


class Measured(NamedTuple):
    """One structure in two masks.

    Attributes:
        dice, surface_dice: None where both masks are empty.
        ml_before, ml_after: Its volume in each; None in a 2D image.
    """

    dice: float | None
    surface_dice: float | None
    ml_before: float | None
    ml_after: float | None


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask as the log names it: where it is, and the SHA-256 that it must have."""

    path: Path
    sha256: str

    def check(self) -> None:
        """See that the file is there and is the one that is meant.

        Raises:
            DataError: It is not.
        """
        if not self.path.is_file() or sha256(self.path) != self.sha256:
            raise DataError(f"{self.path.parent.name}/{self.path.name} is not the mask that was decided about")


class Comparisons:
    """Compares masks of the scans of a batch, and keeps what it found.

    Args:
        snapshot: The batch and what people decided about it.
        tolerance: Of the surface Dice, in millimetres.
    """

    def __init__(self, snapshot: Snapshot, tolerance: float = TOLERANCE) -> None:
        self.snapshot, self.tolerance = snapshot, tolerance
        self._path = snapshot.folder.root / KEPT
        self._masks, self._scanners = _read_kept(self._path)
        self._changed = False

    def of(self, row: Row, before: MaskFile, after: MaskFile) -> Mapping[str, Measured]:
        """What differs, by structure.

        Args:
            row: Names the structures.
            before, after: In the scan's grid; where both are the model's own, neither is read.

        Raises:
            DataError: A mask is no longer there, is another one, cannot be read, or has another grid.
        """
        key = f"{before.sha256} {after.sha256} {self.tolerance:g}"
        if key not in self._masks:
            if before.sha256 == after.sha256 == row.outputs.get(MASK):
                found = {name: _untouched(structure) for name, structure in row.structures.items()}
            else:
                before.check()
                after.check()
                found = self._compared(row, before.path, after.path)
            self._masks[key] = found
            self._changed = True
        return self._masks[key]

    def known(self, before: str, after: str) -> Mapping[str, Measured] | None:
        """What was measured earlier of two masks, by their hashes; they may be gone."""
        return self._masks.get(f"{before} {after} {self.tolerance:g}")

    def scanner(self, row: Row) -> str:
        """Manufacturer, model and station of a scan's machine, as its header has them."""
        key = f"{row.input} {row.series} {row.input_hash}"
        if key not in self._scanners:
            try:
                facts = items_of(row, self.snapshot.out, self.snapshot.catalogue)[0].facts
            except VoxGraftError:  # the scan has gone; it may come back
                return UNKNOWN
            self._scanners[key] = _scanner(facts)
            self._changed = True
        return self._scanners[key]

    def keep(self) -> None:
        """Write down what was found, where the folder may be written."""
        if self._changed and self._path.parent.is_dir():
            masks = {key: {name: list(one) for name, one in row.items()} for key, row in self._masks.items()}
            with suppress(DataError, OSError):
                write_json(self._path, {"masks": masks, "scanners": self._scanners})
                self._changed = False

    def _compared(self, row: Row, before: Path, after: Path) -> dict[str, Measured]:
        metrics = [
            choose(self.snapshot.catalogue, "metric", {"use": "dice"}),
            choose(self.snapshot.catalogue, "metric", {"use": "nsd", "tolerance": self.tolerance}),
        ]
        first, second = (read(path, self.snapshot.catalogue) for path in (before, after))
        found = measure_case(first, second, labels_of(row), metrics)
        sized = is_sized(row.flags)  # a tolerance in millimetres says nothing where nobody knows how large a voxel is
        voxel = first.voxel_ml if first.dims == 3 and sized else math.nan
        return {
            name: Measured(
                _defined(found.values["dice"][name]),
                _defined(found.values["nsd"][name] if sized else math.nan),
                _defined(counts.predicted * voxel),
                _defined(counts.referred * voxel),
            )
            for name, counts in found.counts.items()
        }


def labels_of(row: Row) -> Labels:
    """The structures of a scan, as the ledger names them."""
    return Labels(tuple(Label(int(structure["value"]), name) for name, structure in row.structures.items()))


def _scanner(facts: Mapping[str, Any]) -> str:
    name, station = (" ".join(str(facts.get(key) or "").split()) for key in ("scanner", "station"))
    return (f"{name} ({station})" if name and station else name or station) or UNKNOWN


def _untouched(structure: Mapping[str, Any]) -> Measured:
    same = 1.0 if structure.get("voxels") else None
    ml = structure.get("ml")
    return Measured(same, same, ml, ml)


def _defined(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _read_kept(path: Path) -> tuple[dict[str, dict[str, Measured]], dict[str, str]]:
    """What was measured before; nothing where the file is not there or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = read_json(path)
        masks = {
            str(key): {str(name): Measured(*map(_number, values)) for name, values in row.items()}
            for key, row in kept["masks"].items()
        }
        return masks, {str(key): str(name) for key, name in kept["scanners"].items()}
    return {}, {}


def _number(value: Any) -> float | None:
    if value is not None and not isinstance(value, (int, float)):
        raise TypeError
    return None if value is None else float(value)
