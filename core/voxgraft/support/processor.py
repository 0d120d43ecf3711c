"""What this processor has units for, asked of the system: torch, which knows it too, starts slowly."""

from __future__ import annotations

import re
from pathlib import Path

BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""How Linux calls products of bfloat16: on Intel and AMD, on Intel's matrix units, on ARM."""


def has_bf16(facts: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether it multiplies bfloat16 numbers itself; False where the system does not say (Windows, macOS)."""
    try:
        text = facts.read_text(errors="replace")
    except OSError:
        return False
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return bool(match and BF16 & set(match[1].split()))
