"""A change of a mask: a box, what stood there before and what stands there after; and the state of a mask as one
SHA-256, which a change of a few planes does not make anyone compute again as a whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.structures import Box

Labels = NDArray[Any]
"""A mask: whole numbers in voxel order (i, j[, k]); 0 is the background."""

LARGEST = 2**31
"""Voxels of the largest box that is read from bytes."""

SLAB = 2**22
"""Voxels that are compared at a time, so that no mask is ever copied as a whole."""

_MARK = b"VGC1"
_HEADER = 4096
"""Bytes of the longest header."""
_TYPES = frozenset({"|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"})


@dataclass(frozen=True, eq=False)
class Change:
    """What becomes of the voxels of a box.

    Attributes:
        box: Where; one slice for each axis of the mask.
        before: The labels in the box before; of the box's shape.
        after: The labels in the box after; of the same shape and type.

    Raises:
        DataError: Box and arrays do not fit each other.
    """

    box: Box
    before: Labels
    after: Labels

    def __post_init__(self) -> None:
        shape = tuple(part.stop - part.start for part in self.box)
        if self.before.shape != shape or self.after.shape != shape or self.before.dtype != self.after.dtype:
            raise DataError("a change's box and its labels before and after differ in shape or type")
        if any(part.start < 0 or part.stop < part.start or part.step not in (None, 1) for part in self.box):
            raise DataError("a change's box does not fit into a mask")

    @classmethod
    def between(cls, before: Labels, after: Labels) -> Change | None:
        """The smallest change that makes `before` into `after`, with copies of its voxels; None where both are equal.

        Args:
            before: A mask.
            after: A mask of the same shape.

        Raises:
            DataError: They differ in shape, or `after` holds values that the type of `before` cannot hold.
        """
        box = box_of_difference(before, after)
        if box is None:
            return None
        changed = after[box].astype(before.dtype)
        if after.dtype != before.dtype and not np.array_equal(changed, after[box]):
            raise DataError(f"the changed mask holds labels that do not fit into {before.dtype}")
        return cls(box, before[box].copy(), changed)

    @classmethod
    def nothing(cls, mask: Labels) -> Change:
        """The change of no voxel of a mask."""
        empty = np.zeros((0,) * mask.ndim, mask.dtype)
        return cls((slice(0, 0),) * mask.ndim, empty, empty)

    @classmethod
    def of_box(cls, mask: Labels, box: Box, after: Labels) -> Change:
        """The smallest change of a part of a mask; of no voxel where it is so already.

        Args:
            mask: The mask.
            box: The part.
            after: What the part becomes.
        """
        change = cls.between(mask[box], after)
        if change is None:
            return cls.nothing(mask)
        places = zip(change.box, box, strict=True)
        moved = tuple(slice(part.start + outer.start, part.stop + outer.start) for part, outer in places)
        return cls(moved, change.before, change.after)

    @cached_property
    def voxels(self) -> int:
        """How many voxels change."""
        return int(np.count_nonzero(self.before != self.after))

    def apply(self, mask: Labels) -> None:
        """Make the change in a mask, in place.

        Raises:
            DataError: The mask is not the one that the change starts from; nothing was changed.
        """
        self._put(mask, self.before, self.after)

    def revert(self, mask: Labels) -> None:
        """Take the change back in a mask, in place.

        Raises:
            DataError: The mask is not the one that the change leads to; nothing was changed.
        """
        self._put(mask, self.after, self.before)

    def _put(self, mask: Labels, expected: Labels, wanted: Labels) -> None:
        fits = mask.ndim == len(self.box) and all(
            part.stop <= size for part, size in zip(self.box, mask.shape, strict=True)
        )
        if not fits or mask.dtype != expected.dtype or not np.array_equal(mask[self.box], expected):
            raise DataError("the mask is not the one that this change was made for")
        mask[self.box] = wanted

    def to_bytes(self) -> bytes:
        """The change as bytes: a header of one JSON line, then the labels before and which bits of them change."""
        from isal import isal_zlib

        kind = self.before.dtype.newbyteorder("<")
        before, after = (np.ascontiguousarray(part, kind).tobytes() for part in (self.before, self.after))
        bits = (np.frombuffer(before, np.uint8) ^ np.frombuffer(after, np.uint8)).tobytes()
        header = {"box": [[int(part.start), int(part.stop)] for part in self.box], "type": kind.str}
        packer = isal_zlib.compressobj(1)
        return (
            _MARK
            + json.dumps(header).encode()
            + b"\n"
            + packer.compress(before)
            + packer.compress(bits)
            + packer.flush()
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Change:
        """The change that `to_bytes` wrote; never unpacks more than the header says, which is bounded.

        Raises:
            DataError: The bytes are no such change, are damaged, or are of more than `LARGEST` voxels.
        """
        try:
            box, kind, body = _header(data)
            shape = tuple(part.stop - part.start for part in box)
            size = math.prod(shape) * kind.itemsize
            raw = np.frombuffer(_unpacked(body, 2 * size), np.uint8)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(f"a recorded change cannot be read: {error}") from error
        before, after = raw[:size].copy(), raw[:size] ^ raw[size:]
        return cls(box, before.view(kind).reshape(shape), after.view(kind).reshape(shape))


def _header(data: bytes) -> tuple[Box, np.dtype[Any], memoryview]:
    line = data[: _HEADER + 1].split(b"\n", 1)[0]
    if not line.startswith(_MARK) or len(line) > _HEADER:
        raise ValueError("its header is missing")
    header = json.loads(line.removeprefix(_MARK))
    ends = [(int(start), int(stop)) for start, stop in header["box"]]
    if header["type"] not in _TYPES or not 1 <= len(ends) <= 4:
        raise ValueError("its type or number of axes does not fit a mask")
    if any(not 0 <= start <= stop <= LARGEST for start, stop in ends):
        raise ValueError("its box does not fit into a mask")
    if math.prod(stop - start for start, stop in ends) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} voxels")
    return tuple(slice(*end) for end in ends), np.dtype(header["type"]), memoryview(data)[len(line) + 1 :]


def _unpacked(body: memoryview, size: int) -> bytes:
    from isal import isal_zlib

    damaged: Any = isal_zlib.error
    unpacker = isal_zlib.decompressobj()
    try:
        raw: bytes = unpacker.decompress(body, size + 1)
    except damaged as error:
        raise ValueError("its labels are damaged") from error
    if len(raw) != size or not unpacker.eof or unpacker.unused_data:
        raise ValueError("the number of its labels does not fit its box")
    return raw


def check_alike(before: Labels, after: Labels) -> None:
    """Refuse two masks that cannot be compared voxel by voxel.

    Raises:
        DataError: They differ in shape, or one holds something else than whole numbers.
    """
    if before.shape != after.shape:
        shapes = ["x".join(map(str, mask.shape)) for mask in (before, after)]
        raise DataError(f"the mask has {shapes[1]} voxels, and the one before it {shapes[0]}")
    for mask in (before, after):
        if mask.dtype.kind not in "bui":
            raise DataError(f"a mask holds whole numbers, not {mask.dtype}")


def slabs(before: Labels, after: Labels) -> Iterator[tuple[int, Labels, Labels]]:
    """Two masks of one shape in slabs along their slowest axis in memory, each with where it starts on that axis.

    The axes of a slab are those of `by_memory`.
    """
    order = by_memory(before)
    one, other = before.transpose(order), after.transpose(order)
    planes = max(1, SLAB // max(1, math.prod(one.shape[1:])))
    for start in range(0, len(one), planes):
        yield start, one[start : start + planes], other[start : start + planes]


def by_memory(array: NDArray[Any]) -> list[int]:
    """The axes of an array, slowest in memory first: NIfTI files are read with the first axis as the fastest."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def box_of_difference(before: Labels, after: Labels) -> Box | None:
    """The smallest box that holds every voxel in which two masks differ; None where they are equal.

    Raises:
        DataError: See `check_alike`.
    """
    check_alike(before, after)
    order = by_memory(before)
    there = [np.zeros(before.shape[axis], np.bool_) for axis in order]
    for start, one, other in slabs(before, after):
        differs = one != other
        if differs.any():
            _note(there, start, differs)
    if not there[0].any():
        return None
    ends = {axis: np.flatnonzero(line)[[0, -1]] for axis, line in zip(order, there, strict=True)}
    return tuple(slice(int(ends[axis][0]), int(ends[axis][1]) + 1) for axis in range(before.ndim))


def _note(there: list[NDArray[np.bool_]], start: int, differs: NDArray[np.bool_]) -> None:
    """Mark, for each axis, the places at which a slab has a voxel."""
    there[0][start : start + len(differs)] |= differs.reshape(len(differs), -1).any(1)
    flat: NDArray[np.bool_] = np.asarray(differs.any(0))
    for axis, line in enumerate(there[1:]):
        line |= np.moveaxis(flat, axis, 0).reshape(len(line), -1).any(1)


PLANES = 8
"""Planes that are hashed together."""


class State:
    """The SHA-256 of a mask's type, shape and labels; equal masks have equal ones, however they lie in memory.

    It is the hash of the hashes of `PLANES` planes each along the last axis, in which NIfTI files are slowest.

    Args:
        mask: A mask (i, j[, k]), which is not kept.
    """

    def __init__(self, mask: Labels) -> None:
        kind = mask.dtype.newbyteorder("<").str
        self._kind = f"{kind} {'x'.join(map(str, mask.shape))}\n".encode()
        self._parts = [b""] * len(range(0, mask.shape[-1], PLANES))
        self._hash(mask, range(len(self._parts)))

    @property
    def sha256(self) -> str:
        """In hexadecimal."""
        return hashlib.sha256(self._kind + b"".join(self._parts)).hexdigest()

    def update(self, mask: Labels, box: Box) -> None:
        """Follow a mask of which only the voxels of a box have changed."""
        if box[-1].stop > box[-1].start:
            self._hash(mask, range(box[-1].start // PLANES, (box[-1].stop - 1) // PLANES + 1))

    def copy(self) -> State:
        """One that goes on by itself."""
        other = object.__new__(State)
        other._kind, other._parts = self._kind, list(self._parts)
        return other

    def _hash(self, mask: Labels, parts: Iterable[int]) -> None:
        kind = mask.dtype.newbyteorder("<")
        for part in parts:
            planes = mask[..., part * PLANES : (part + 1) * PLANES]
            self._parts[part] = hashlib.sha256(np.ascontiguousarray(planes.T, kind).data).digest()
