"""What executors have in common: the devices there are, and limits that only some can keep."""

from __future__ import annotations

import os
import shutil

from voxgraft.plugin import ExecutorOptions, UsageError


def refuse_limits(name: str, options: ExecutorOptions) -> None:
    """Refuse limits that cannot be kept.

    Raises:
        UsageError: A limit of time or memory is set.
    """
    if options.seconds is not None or options.gigabytes is not None:
        raise UsageError(
            f"the executor {name!r} cannot end a scan that takes too long or too much memory: Python cannot end a "
            "thread; take `--executor processes`"
        )


def gpus(device: str) -> int:
    """How many GPUs a batch may use: none on a CPU, one where it is named, else all that are visible."""
    if device.startswith("cuda:"):
        return 1
    if device == "cpu" or not (device == "cuda" or shutil.which("nvidia-smi")):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Windows and macOS have none
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1
