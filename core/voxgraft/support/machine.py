"""What this machine has: memory that is free, units of its processor, devices. Where torch would start slowly the
system is asked."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import torch


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


DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
"""What NVIDIA's driver brings, and torch loads."""


def device_kind(wanted: str) -> str:
    """The kind of device, `cpu` or `cuda`, that `choose_device` would give; torch is asked only where it may be `cuda`.

    Raises:
        UsageError: It is not here.
    """
    if wanted.split("*")[0] == "cpu" or (wanted == "auto" and not _may_be_cuda()):
        return "cpu"
    return choose_device(wanted).type


def _may_be_cuda() -> bool:
    """Whether torch could find a CUDA device: it was not built without, and a driver is there (of AMD: `/dev/kfd`)."""
    try:
        if version("torch").endswith("+cpu"):
            return False
        ctypes.CDLL(DRIVER)
    except (PackageNotFoundError, OSError):
        return Path("/dev/kfd").exists()
    return True


def choose_device(wanted: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` names.

    Raises:
        UsageError: It is not here.
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = wanted.split("*")[0]
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise UsageError(f"there is no device {wanted!r}; write auto, cpu, cuda, cuda:1 or cuda*2")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available here; set the device to cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no device {name!r} here: {torch.cuda.device_count()} CUDA devices were found")
    return device


def device_count(wanted: str) -> int:
    """How many devices `cuda*2` or `cpu*2` asks for."""
    _, star, number = wanted.partition("*")
    if star and not number.isdigit():
        raise UsageError(f"{wanted!r}: write the number of devices after the star, as in cuda*2")
    return int(number) if star else 1


def precision_of(wanted: str, device: torch.device) -> str:
    """Fabric's word for the precision: mixed where the device has fast half-precision arithmetic."""
    import torch

    if wanted == "bf16":
        return "bf16-mixed"
    if wanted == "16":
        return "16-mixed"
    if wanted == "auto" and device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"
