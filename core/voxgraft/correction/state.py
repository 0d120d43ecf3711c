"""The state of a mask as one SHA-256, which a change of a few planes does not make anyone compute again as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from ..imaging.structures import Box
from .change import Labels

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
