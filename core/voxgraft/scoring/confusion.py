"""Voxel counts of all structures of a case, from one pass over the two label arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .pair import Counts

LARGEST = 65535
"""The largest value that a structure can have in a mask."""
SLAB = 1 << 17
"""Voxels that are counted at a time: their joint codes and numpy's copy of them stay in the processor's cache."""

Integers = NDArray[np.integer[Any]] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often each value stands in two label arrays, and in both at the same voxel; by value."""

    prediction: NDArray[np.int64]
    reference: NDArray[np.int64]
    both: NDArray[np.int64]

    @property
    def values(self) -> tuple[int, ...]:
        """The values that stand in either array, 0 left out."""
        return tuple(int(value) for value in np.flatnonzero(self.prediction + self.reference) if value)


def confusion(prediction: Integers, reference: Integers, values: Sequence[int]) -> dict[int, Counts]:
    """Count true and false positives and negatives of each structure.

    Args:
        prediction: Labels of any integer type, shape (i, j[, k]).
        reference: The same shape, perhaps another type and another order in memory.
        values: The value of each structure; 0 is background.

    Raises:
        DataError: The shapes differ, or an array holds a value that is none of `values`.
    """
    histogram = count(prediction, reference)
    _check(histogram.prediction, values, "prediction")
    _check(histogram.reference, values, "reference")
    size = len(histogram.both)
    result = {}
    for value in values:
        found, wanted, tp = (
            (int(counts[value]) for counts in (histogram.prediction, histogram.reference, histogram.both))
            if value < size
            else (0, 0, 0)
        )
        result[value] = Counts(tp, found - tp, wanted - tp, prediction.size - found - wanted + tp)
    return result


def count(prediction: Integers, reference: Integers) -> Histogram:
    """Count the values of two label arrays, together.

    Values below 256 are counted by their joint code of 16 bits, a slab at a time; larger ones in three counts, whose
    memory does not grow with the square of the largest value.

    Raises:
        DataError: The shapes differ, there are no voxels, or a value is not from 0 to 65535.
    """
    if prediction.shape != reference.shape:
        found, wanted = (_times(array.shape) for array in (prediction, reference))
        raise DataError(f"the prediction has {found} voxels and the reference {wanted}")
    if not prediction.size:
        raise DataError("the masks have no voxels")
    largest = max(_largest(prediction, "prediction"), _largest(reference, "reference"))
    if largest > 255:
        return _count_wide(prediction, reference, largest + 1)
    joint = np.zeros(1 << 16, np.int64)
    for part, truth in _slabs(prediction, reference):
        code = truth.astype(np.uint16)
        code <<= 8
        code |= part.astype(np.uint8, copy=False)
        tally = np.bincount(code)
        joint[: len(tally)] += tally
    table = joint.reshape(256, 256)
    return Histogram(table.sum(0), table.sum(1), table.diagonal().copy())


def _count_wide(prediction: Integers, reference: Integers, size: int) -> Histogram:
    counts = np.zeros((3, size), np.int64)
    for found, wanted in _slabs(prediction, reference):
        found, wanted = found.astype(np.int64), wanted.astype(np.int64)
        for tally, labels in zip(counts, (found, wanted, wanted[found == wanted]), strict=True):
            tally += np.bincount(labels, minlength=size)
    return Histogram(*counts)


def _slabs(prediction: Integers, reference: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Flat pieces of both arrays in step, walking through memory as the reference lies in it."""
    order = sorted(range(reference.ndim), key=lambda axis: -abs(reference.strides[axis]))
    found, wanted = prediction.transpose(order), reference.transpose(order)
    planes = max(1, SLAB // wanted[0].size)
    for start in range(0, len(wanted), planes):
        yield found[start : start + planes].ravel(), wanted[start : start + planes].ravel()


def _largest(array: Integers, name: str) -> int:
    if array.dtype.kind not in "bui":
        raise DataError(f"the {name} holds values of type {array.dtype}, not whole numbers")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > LARGEST:
        raise DataError(f"the {name} holds the value {low if low < 0 else high}; labels go from 0 to {LARGEST}")
    return high


def _check(counts: NDArray[np.int64], values: Sequence[int], name: str) -> None:
    strange = sorted(set(np.flatnonzero(counts).tolist()) - {0, *values})
    if strange:
        those = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        known = ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
        what = "the value" if len(strange) == 1 else "the values"
        raise DataError(
            f"the {name} holds {what} {those}, which no structure has (they have {known}); "
            "name the structure, or correct the mask"
        )


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
