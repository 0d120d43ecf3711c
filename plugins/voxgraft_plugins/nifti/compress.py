"""Gzip in blocks on several threads, as one member that every reader takes."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

THREADS = 2
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""No name and no time: they would make equal masks differ in their hashes."""


def write_gzip(file: BinaryIO, parts: Iterable[memoryview], level: int) -> None:
    """Compress the parts one by one, each a block of its own that ends on a byte (the way of pigz), and join them.

    Equal parts give equal bytes, however many threads there are. The parts are taken one after another, a few ahead of
    what is written.
    """
    from isal import isal_zlib

    def compressed(part: memoryview) -> bytes:
        deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
        return bytes(deflate.compress(part) + deflate.flush(isal_zlib.Z_SYNC_FLUSH))

    file.write(_HEADER)
    length = check = 0
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[bytes]] = deque()
        for part in parts:
            waiting.append(pool.submit(compressed, part))
            check = isal_zlib.crc32(part, check)
            length += part.nbytes
            if len(waiting) > 2 * THREADS:
                file.write(waiting.popleft().result())
        for block in _results(waiting):
            file.write(block)
    file.write(b"\x03\0")  # an empty last block
    file.write(struct.pack("<II", check, length % (1 << 32)))


def _results(waiting: deque[Future[bytes]]) -> Iterator[bytes]:
    while waiting:
        yield waiting.popleft().result()
