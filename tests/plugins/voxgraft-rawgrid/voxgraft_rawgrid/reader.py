"""The reader of `.rawgrid` files: 8 bytes of magic, three uint32 sizes, three float64 spacings, then uint16 voxels."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxgraft.plugin import BadImage, Item, Problem, Volume

HEADER = struct.Struct("<8s3I3d")


class RawGridReader:
    """Volumes whose axes are right, anterior and superior, the first running fastest."""

    def scan(self, files: Sequence[Path]) -> list[Item]:
        return [self._describe(file) for file in files]

    def read(self, item: Item) -> Volume:
        for problem in item.errors:
            raise BadImage(item.path.name, problem.message)
        voxels = np.fromfile(item.path, "<u2", offset=HEADER.size)
        return Volume(voxels.reshape(item.shape, order="F"), item.affine, item=item)

    def _describe(self, file: Path) -> Item:
        with file.open("rb") as source:
            head = source.read(HEADER.size)
        if len(head) < HEADER.size or head[:8] != b"RAWGRID1":
            return self._broken(file, "the header is cut off")
        _, *numbers = HEADER.unpack(head)
        shape, spacing = tuple(numbers[:3]), numbers[3:]
        if file.stat().st_size != HEADER.size + 2 * int(np.prod(shape, dtype=object)):
            return self._broken(file, "the file is not as long as its header says")
        return Item(file, "rawgrid", shape, np.diag([*spacing, 1.0]), files=(file,))

    def _broken(self, file: Path, reason: str) -> Item:
        return Item(file, "rawgrid", (1, 1, 1), np.eye(4), files=(file,), problems=(Problem("truncated", reason),))
