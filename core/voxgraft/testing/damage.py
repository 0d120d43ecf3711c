"""Ways in which files are spoiled: cut, overwritten, something else altogether."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

FOREIGN = {
    "an empty file": b"",
    "one byte": b"\0",
    "zeros": bytes(4096),
    "text": b"<html><body>404 Not Found</body></html>\n" * 40,
    "noise": random.Random(7).randbytes(5000),
    "a gzip file of noise": gzip.compress(random.Random(8).randbytes(5000)),
    "a gzip file of nothing": gzip.compress(b""),
    "a ZIP archive's head": b"PK\x03\x04" + bytes(600),
}


def cuts(content: bytes, count: int = 24) -> Iterator[tuple[int, bytes]]:
    """The beginnings of a file: (length, bytes), the shortest first; the last lacks a single byte."""
    lengths = {0, 1, 4, 64, 130, 132, 200, 347, 351, 352, len(content) - 1}
    lengths |= {len(content) * part // count for part in range(1, count)}
    for length in sorted(one for one in lengths if 0 <= one < len(content)):
        yield length, content[:length]


def mutations(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Copies with up to 8 bytes changed, inserted or removed, or runs overwritten, half of them in the first 2 kB.

    Args:
        content: The bytes of a good file.
        count: How many copies.
        seed: The same seed gives the same copies.
    """
    dice = random.Random(seed)
    for number in range(count):
        spoiled = bytearray(content)
        reach = min(len(spoiled), 2048) if number % 2 else len(spoiled)
        for _ in range(dice.randint(1, 8)):
            place = dice.randrange(max(reach, 1))
            way = dice.randrange(10)
            if way < 6 and place < len(spoiled):
                spoiled[place] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
            elif way < 7:
                spoiled[place:place] = dice.randbytes(dice.randint(1, 4))
            elif way < 8:
                del spoiled[place : place + dice.randint(1, 4)]
            else:
                length = dice.randint(1, 32)
                spoiled[place : place + length] = dice.choice((bytes(length), b"\xff" * length, dice.randbytes(length)))
        yield bytes(spoiled)
