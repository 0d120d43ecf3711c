"""Looks at a file of weights before anything loads it: that it is in the safetensors format, and its numbers finite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError

LONGEST_HEADER = 16 * 2**20
"""Bytes of the longest header: a hundred thousand tensors."""
EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""Of safetensors' kinds of floating-point numbers: whole numbers of their size, and the bits of the exponent."""
CHUNK = 2**24
"""Numbers that are looked at together."""


def check_weights(path: Path) -> None:
    """Refuse weights of another kind, such as a pickle, before anything loads them, and weights that are not finite: a
    network of such weights finds nothing anywhere, without an error.

    The safetensors format is eight bytes with the header's length, then that many bytes of JSON, then numbers.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            start = file.read(1)
            if start != b"{" or length > LONGEST_HEADER or length + 8 > path.stat().st_size:
                raise ValueError("it has no header")
            header = json.loads(start + file.read(length - 1))
        _check_offsets(path)
        spoilt = _first_not_finite(path, 8 + length, header)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{path}: holds no tensors in the safetensors format") from None
    if spoilt is not None:
        raise ModelError(f"{path}: the tensor {spoilt} holds values that are not finite; the model cannot be used")


def _check_offsets(path: Path) -> None:
    """Refuse a header whose tensors overlap, leave gaps or lie beyond the file: their library checks it as it opens.

    Raises:
        ValueError: It is so.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _first_not_finite(path: Path, begin: int, header: Mapping[str, Any]) -> str | None:
    """The name of the first tensor with a NaN or an infinite value: those whose exponent has all its bits set
    (IEEE 754), found without a library of tensors."""
    import numpy as np

    data = np.memmap(path, np.uint8, "r", offset=0)[begin:]
    for name, entry in header.items():
        kind, mask = EXPONENTS.get(entry.get("dtype", ""), ("", 0))
        if kind:
            first, last = entry["data_offsets"]
            numbers = data[int(first) : int(last)].view(kind)
            parts = (numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK))
            if any(bool(((part & mask) == mask).any()) for part in parts):
                return str(name)
    return None
