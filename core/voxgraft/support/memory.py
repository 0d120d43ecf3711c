"""What this machine has: memory that is free, and units of its processor, asked of the system: torch starts slowly."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


def free_memory() -> int:
    """Bytes of memory that this process may still take: the machine's, or what its container is allowed."""
    import psutil

    return min([int(psutil.virtual_memory().available), *_allowed(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))])


def _allowed(root: Path, own: Path) -> Iterator[int]:
    """What each control group above this process leaves it (version 2, then version 1)."""
    try:
        paths = [row.split(":", 2)[2].lstrip("/") for row in own.read_text().splitlines() if row.count(":") >= 2]
    except OSError:
        paths = []
    groups = {root / part for path in paths for part in (Path(path), *Path(path).parents)} | {root}
    pairs = [(group / "memory.max", group / "memory.current", group / "memory.stat") for group in groups]
    old = root / "memory"
    pairs.append((old / "memory.limit_in_bytes", old / "memory.usage_in_bytes", old / "memory.stat"))
    for limit, usage, stat in pairs:
        try:
            most, used = int(limit.read_text()), int(usage.read_text())
        except (OSError, ValueError):  # no such group, or its limit is the word `max`
            continue
        yield max(0, most - max(0, used - _cached(stat)))


def _cached(stat: Path) -> int:
    """Bytes that a group holds only as copies of files, and gives back when they are needed."""
    try:
        rows = dict(row.split() for row in stat.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(rows.get("inactive_file", rows.get("total_inactive_file", 0)))


def free_gpu_memory() -> int | None:
    """Bytes free on the emptiest NVIDIA GPU, asked of the driver's tool, for torch starts slowly; None without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    call = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(call, capture_output=True, text=True, timeout=20, check=True).stdout
        return max(int(row) for row in answer.split()) << 20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def gigabytes(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"


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
