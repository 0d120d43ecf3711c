"""Private elements of a maker, by the name of who made them."""

from __future__ import annotations

from typing import Any


def private(dataset: Any, group: int, maker: str, element: int) -> str:
    """An element of a maker's private block, wherever the block lies in its group (PS3.5, 7.8.1); empty for none.

    Args:
        dataset: As pydicom read it.
        group: An odd number.
        maker: How the creator's name begins, in capitals.
        element: Its last two digits, which stay where the block lies elsewhere.
    """
    for block in range(0x10, 0x100):
        creator = dataset[group, block].value if (group, block) in dataset else ""
        if not _ascii(creator).upper().startswith(maker):
            continue
        if (group, block << 8 | element) in dataset:
            return _ascii(dataset[group, block << 8 | element].value)
    return ""


def _ascii(value: Any) -> str:
    """What pydicom gives of a private element: bytes where it does not know what they are."""
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")
