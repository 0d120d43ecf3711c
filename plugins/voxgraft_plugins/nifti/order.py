"""Voxels in the order of a NIfTI file, first axis fastest, from arrays in any order in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from voxgraft.plugin import Array

SLAB = 1 << 22
"""Bytes of a piece: large enough to compress well, small enough to stay in a processor's cache."""
THICK = 1 << 26
"""Bytes that are turned into the file's order at once; a line of cache is then read once and used whole."""
THREADS = 2
_MODES = {1: "L", 4: "I"}
"""The pictures of Pillow whose pixels have so many bytes."""


def in_file_order(array: Array, dims: int) -> Iterator[memoryview]:
    """The bytes of (channel, i, j[, k]) or (i, j[, k]), i fastest, then j, then k, then the channel.

    The pieces are cut in the same places whatever the array's order in memory.
    """
    for channel in array if array.ndim > dims else (array,):
        planes = channel.T
        step = max(1, SLAB // max(1, planes[:1].nbytes))
        thick = step * max(1, THICK // max(1, step * planes[:1].nbytes))
        for start in range(0, len(planes), thick):
            slab = _contiguous(planes[start : start + thick])
            for first in range(0, len(slab), step):
                yield slab[first : first + step].reshape(-1).view(np.uint8).data


def _contiguous(planes: Array) -> Array:
    """The planes (k, j, i) with i fastest; numpy's own copy is slow where it would read one byte of each cache line."""
    if planes.flags.c_contiguous or planes.ndim != 3 or planes.dtype.itemsize not in _MODES:
        return np.ascontiguousarray(planes)
    if planes.nbytes < 1 << 20 or abs(planes.strides[2]) <= abs(planes.strides[0]):
        return np.ascontiguousarray(planes)
    turned = np.empty(planes.shape, planes.dtype)
    rows = range(planes.shape[1])
    chunks = [rows[start : start + 64] for start in range(0, len(rows), 64)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(_turn_rows, planes, turned), chunks))
    return turned


def _turn_rows(planes: Array, turned: Array, rows: range) -> None:
    """For each j transpose (i, k) to (k, i) by Pillow, which goes through a picture in blocks that fit the cache."""
    from PIL import Image

    mode = _MODES[planes.dtype.itemsize]
    kind = np.uint8 if mode == "L" else np.int32
    for j in rows:
        lines = np.ascontiguousarray(planes[:, j, :].T).view(kind)
        size = (lines.shape[1], lines.shape[0])
        picture = Image.frombuffer(mode, size, lines, "raw", mode, 0, 1)
        turned[:, j, :] = np.asarray(picture.transpose(Image.Transpose.TRANSPOSE)).view(planes.dtype)
