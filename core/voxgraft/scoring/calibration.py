"""Whether probabilities mean what they say: how often voxels of each probability are the structure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.structures import box_of

if TYPE_CHECKING:
    from .pairs import Structure

SLAB = 1 << 20
"""Voxels that are put into bins at a time."""


@dataclass(frozen=True, slots=True)
class Binning:
    """How voxels are gathered.

    Attributes:
        bins: Bins of equal width from 0 to 1; each holds its lower edge, the last both.
        margin: Millimetres around the structure's box in the reference within which voxels count; None for the whole
            image. Where the reference does not have the structure, nothing counts.
    """

    bins: int = 15
    margin: float | None = 10.0


@dataclass(frozen=True, slots=True)
class Reliability:
    """What each bin holds, shape (bin,).

    Attributes:
        voxels: How many.
        confidence: The sum of their probabilities.
        true: How many of them are the structure in the reference.
    """

    voxels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    true: NDArray[np.int64]

    @classmethod
    def nothing(cls, bins: int) -> Reliability:
        return cls(np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins, np.int64))

    @property
    def ece(self) -> float:
        """The expected calibration error: |mean probability - share that is true|, averaged over the voxels."""
        total = int(self.voxels.sum())
        return float(np.abs(self.confidence - self.true).sum() / total) if total else math.nan

    def add(self, probability: NDArray[Any], truth: NDArray[np.bool_]) -> None:
        """Put voxels into their bins, in place."""
        bins = len(self.voxels)
        flat, true = probability.ravel(), truth.ravel()
        for start in range(0, flat.size, SLAB):
            some = np.clip(flat[start : start + SLAB].astype(np.float64), 0.0, 1.0)
            bin_of = np.minimum((some * bins).astype(np.intp), bins - 1)
            self.voxels[:] += np.bincount(bin_of, minlength=bins)
            self.confidence[:] += np.bincount(bin_of, some, bins)
            self.true[:] += np.bincount(bin_of[true[start : start + SLAB]], minlength=bins)

    def document(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "voxels": self.voxels.tolist(),
            "confidence": self.confidence.tolist(),
            "true": self.true.tolist(),
        }


class Watch:
    """Puts the probabilities of a case into bins as they are computed, a part of the scan at a time.

    Args:
        truth: Gives the boolean mask of a structure in a part of the reference.
        shape: Of the reference, (i, j[, k]).
        binnings: What the metrics ask for.
        ignored: Voxels that do not count, or None.
    """

    def __init__(
        self,
        truth: Callable[[Structure, tuple[slice, ...]], NDArray[np.bool_]],
        shape: tuple[int, ...],
        spacing: Sequence[float],
        structures: Sequence[Structure],
        binnings: Sequence[Binning],
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        self._truth, self._ignored = truth, ignored
        self._reliabilities = {
            (structure.name, how): Reliability.nothing(how.bins) for structure in structures for how in binnings
        }
        self._structures = tuple(structures)
        self._boxes: dict[tuple[str, Binning], tuple[slice, ...] | None] = {}
        for structure in structures:
            mask = truth(structure, tuple(slice(0, n) for n in shape))
            for how in set(binnings):
                self._boxes[structure.name, how] = _within(mask, how.margin, spacing)

    def see(self, part: tuple[slice, ...], probability: Callable[[Structure], NDArray[Any]]) -> None:
        """Take in the probabilities of one part of the scan.

        Args:
            probability: Gives the probabilities of a structure in that part.
        """
        for structure in self._structures:
            boxes = [
                (how, box) for (name, how), box in self._boxes.items() if name == structure.name and box is not None
            ]
            if not boxes:
                continue
            values = probability(structure)
            for how, box in boxes:
                both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(part, box, strict=True))
                if any(extent.start >= extent.stop for extent in both):
                    continue
                inner = tuple(slice(b.start - a.start, b.stop - a.start) for a, b in zip(part, both, strict=True))
                some, true = values[inner], self._truth(structure, both)
                if self._ignored is not None:
                    counts = ~self._ignored[both]
                    some, true = some[counts], true[counts]
                self._reliabilities[structure.name, how].add(some, true)

    def reliability(self, name: str, how: Binning) -> Reliability | None:
        """What was seen of a structure; None where the reference does not have it, or nothing was seen."""
        reliability = self._reliabilities.get((name, how))
        return reliability if reliability is not None and reliability.voxels.any() else None


def _within(truth: NDArray[np.bool_], margin: float | None, spacing: Sequence[float]) -> tuple[slice, ...] | None:
    """The box of a mask, so many millimetres wider at each end."""
    box = box_of(truth)
    if box is None or margin is None:
        return box and tuple(slice(0, length) for length in truth.shape)
    steps = [math.ceil(margin / step - 1e-9) for step in spacing]
    return tuple(
        slice(max(0, side.start - more), min(length, side.stop + more))
        for side, more, length in zip(box, steps, truth.shape, strict=True)
    )


def pooled(cases: Iterable[Mapping[str, Reliability]]) -> dict[str, dict[str, list[Any]]]:
    """The bins of each structure's probabilities over all cases."""
    sums: dict[str, Reliability] = {}
    for case in cases:
        for name, seen in case.items():
            total = sums.setdefault(name, Reliability.nothing(len(seen.voxels)))
            total.voxels[:] += seen.voxels
            total.confidence[:] += seen.confidence
            total.true[:] += seen.true
    return {name: total.document() for name, total in sums.items()}
