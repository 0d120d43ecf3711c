"""Voxel counts of all structures of a case, from one pass over the two label arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.volume import times
from .pair import Counts, Integers

LARGEST = 65535
"""The largest value that a structure can have in a mask."""
MOST_VALUES = 1024
"""Masks hold no more different values than this; images do."""
SLAB = 1 << 19
"""Bytes of either array that are counted at a time: what is made of them stays in the processor's cache."""
CROWDED = 0.4
"""Where the labels change at so many of the words of eight voxels, voxels are counted one by one."""
PIECE = 1 << 17
"""Voxels that are counted one by one at a time."""
ONES = np.uint64(0x0101010101010101)

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Joint:
    """How often each pair of values stands at one voxel of two label arrays.

    Attributes:
        found: The values that stand in either array, in rising order.
        table: Shape (value of the reference, value of the prediction), both in the order of `found`.
        voxels: Of the whole array.
    """

    found: NDArray[np.int64]
    table: NDArray[np.int64]
    voxels: int

    @property
    def values(self) -> tuple[int, ...]:
        """The values that stand in either array, 0 left out."""
        return tuple(int(value) for value in self.found if value)

    def counts(self, values: Sequence[int]) -> Counts:
        """The counts of the structure that is made of all these values."""
        indices = np.flatnonzero(np.isin(self.found, values))
        tp = int(self.table[np.ix_(indices, indices)].sum())
        predicted, referred = int(self.table[:, indices].sum()), int(self.table[indices].sum())
        return Counts(tp, predicted - tp, referred - tp, self.voxels - predicted - referred + tp)

    def check(self, values: Sequence[int]) -> None:
        """Refuse values that are none of these, nor 0."""
        for name, axis in (("prediction", 0), ("reference", 1)):
            strange = sorted(set(self.found[self.table.any(axis)].tolist()) - {0, *values})
            if strange:
                those = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
                known = ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
                what = "the value" if len(strange) == 1 else "the values"
                raise DataError(
                    f"the {name} holds {what} {those}, which no structure has (they have {known}); "
                    "name the structure, or correct the mask"
                )


def count(prediction: Integers, reference: Integers) -> Joint:
    """Count the values of two label arrays, together.

    Voxels are looked at in words of eight: a run of equal words of one value each is counted with one addition, so
    only words in which the labels change are taken apart. Values above 255 are numbered first.

    Raises:
        DataError: The shapes differ, there are no voxels, a value is not from 0 to 65535, or there are more different
            values than a mask has.
    """
    if prediction.shape != reference.shape:
        predicted, referred = (times(array.shape) for array in (prediction, reference))
        raise DataError(f"the prediction has {predicted} voxels and the reference {referred}")
    if not prediction.size:
        raise DataError("the masks have no voxels")
    largest = max(_largest(prediction, "prediction"), _largest(reference, "reference"))
    # Truth values would choose voxels below, not values.
    prediction, reference = (a.view(np.uint8) if a.dtype.kind == "b" else a for a in (prediction, reference))
    numbers = np.arange(256) if largest < 256 else _present(prediction, reference, largest)
    number_of = None
    if largest > 255:
        if len(numbers) > MOST_VALUES:
            raise DataError(f"the files hold {len(numbers)} different values: are they images and not masks?")
        number_of = np.zeros(largest + 1, np.uint16)
        number_of[numbers] = np.arange(len(numbers))
    size = max(256, len(numbers))
    joint = np.zeros(size * size, np.int64)
    for pieces in _slabs(prediction, reference):
        if number_of is not None:
            pieces = (number_of[pieces[0]], number_of[pieces[1]])
        if size > 256:
            joint += np.bincount(pieces[1].astype(np.int64) * size + pieces[0], minlength=size * size)
        else:
            part, truth = (piece.astype(np.uint8, copy=False) for piece in pieces)
            _add(joint, part, truth)
    table = joint.reshape(size, size)[: len(numbers), : len(numbers)]
    present = np.flatnonzero(table.any(0) | table.any(1))
    return Joint(numbers[present].astype(np.int64), table[np.ix_(present, present)], prediction.size)


def _add(joint: NDArray[np.int64], part: Bytes, truth: Bytes) -> None:
    """Add the joint codes (reference << 8 | prediction) of two flat arrays of bytes to a table of 65536."""
    even = len(part) // 8 * 8
    if even:
        predicted, referred = part[:even].view(np.uint64), truth[:even].view(np.uint64)
        change = predicted[1:] != predicted[:-1]
        change |= referred[1:] != referred[:-1]
        if np.count_nonzero(change) > CROWDED * len(predicted):
            even = 0
        else:
            starts = np.concatenate([[0], np.flatnonzero(change) + 1])
            _add_runs(joint, predicted[starts], referred[starts], np.diff(starts, append=len(predicted)))
    for begin in range(even, len(part), PIECE):
        tally = np.bincount(_codes(part[begin : begin + PIECE], truth[begin : begin + PIECE]))
        joint[: len(tally)] += tally


def _add_runs(
    joint: NDArray[np.int64], predicted: NDArray[np.uint64], referred: NDArray[np.uint64], lengths: NDArray[np.intp]
) -> None:
    """Add runs of equal words of eight voxels. Sums of lengths are exact as doubles."""
    byte, other = predicted & np.uint64(255), referred & np.uint64(255)
    plain = (predicted == byte * ONES) & (referred == other * ONES)
    codes = (other[plain] << np.uint64(8) | byte[plain]).astype(np.intp)
    tally = np.bincount(codes, weights=lengths[plain] * 8.0)
    joint[: len(tally)] += tally.astype(np.int64)
    mixed = ~plain
    many = mixed & (lengths > 1)
    for chosen, weights in ((mixed & ~many, None), (many, np.repeat(lengths[many], 8))):
        codes = _codes(predicted[chosen].view(np.uint8), referred[chosen].view(np.uint8)).astype(np.intp)
        tally = np.bincount(codes, weights=weights)
        joint[: len(tally)] += tally.astype(np.int64)


def _codes(part: Bytes, truth: Bytes) -> NDArray[np.uint16]:
    code = truth.astype(np.uint16)
    code <<= 8
    code |= part
    return code


def _present(prediction: Integers, reference: Integers, largest: int) -> NDArray[np.int64]:
    """The values that stand in either array, and 0."""
    present = np.zeros(largest + 1, np.bool_)
    present[0] = True
    for pieces in _slabs(prediction, reference):
        for piece in pieces:
            present[piece] = True
    return np.flatnonzero(present)


def _slabs(prediction: Integers, reference: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Flat pieces of both arrays in step, walking through memory as the reference lies in it."""
    order = sorted(range(reference.ndim), key=lambda axis: -abs(reference.strides[axis]))
    predicted, truth = prediction.transpose(order), reference.transpose(order)
    if predicted.flags.c_contiguous and truth.flags.c_contiguous:
        predicted, truth = predicted.ravel(), truth.ravel()
    planes = max(1, SLAB // max(1, truth[0].size))
    for start in range(0, len(truth), planes):
        yield predicted[start : start + planes].ravel(), truth[start : start + planes].ravel()


def _largest(array: Integers, name: str) -> int:
    if array.dtype.kind not in "bui":
        raise DataError(f"the {name} holds values of type {array.dtype}, not whole numbers")
    if array.dtype in (np.bool_, np.uint8):
        return 255
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > LARGEST:
        raise DataError(f"the {name} holds the value {low if low < 0 else high}; labels go from 0 to {LARGEST}")
    return high
