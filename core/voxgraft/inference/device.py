"""Which device to compute on, and what it can."""

from __future__ import annotations

import ctypes
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import torch

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
