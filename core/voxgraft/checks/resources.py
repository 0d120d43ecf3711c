"""Disk and memory: what a run will need, in figures, against what is free."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..imaging.orientation import shape_at
from ..support.machine import free_gpu_memory, free_memory, gigabytes
from .problem import CaseProblem

if TYPE_CHECKING:
    from ..workflow.workflow import Workflow
    from .record import Look

PROGRAM = 1 << 30
"""Bytes that the program and its libraries take themselves."""

PACKAGE = 1 << 30
"""Bytes of disk for checkpoints, the package and predictions of an ordinary network."""

COPIES = 3
"""Copies of an image in float32 at its own spacing that preparing it holds at once."""

GPU = 6 << 30
"""Bytes of a GPU that the plan's own choice of patch and batch needs."""


def needs(looks: Sequence[Look], workflow: Workflow | None, folder: Path | None = None) -> dict[str, Any]:
    """Bytes that a run needs, and bytes that are free; empty where no image could be read.

    Args:
        folder: The run's, where prepared arrays go unless the workflow says otherwise.

    Returns:
        `memory` (the largest images that are worked on together), `memory_free`, `largest` (the case), and with a
        workflow `disk` (prepared arrays and package), `disk_free`.
    """
    read = [look for look in looks if look.shape]
    if not read:
        return {}
    axes = min(len(look.shape) for look in read)
    read = [look for look in read if len(look.shape) == axes]
    own = np.array([4.0 * np.prod(look.shape) * max(1, len(look.channels)) for look in read])
    prepared = _prepared(read, workflow)
    work = COPIES * own + 2 * prepared
    workers = min(len(read), 8, os.cpu_count() or 1)
    needs: dict[str, Any] = {
        "memory": int(np.sort(work)[-workers:].sum()) + PROGRAM,
        "memory_free": free_memory(),
        "largest": read[int(work.argmax())].case.id,
    }
    if workflow is not None:
        folder = (workflow.data.cache or folder or Path()).absolute()
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        needs["disk"], needs["disk_free"] = int(prepared.sum()) + PACKAGE, shutil.disk_usage(there).free
    return needs


def _prepared(looks: Sequence[Look], workflow: Workflow | None) -> Any:
    """Bytes of each prepared case: float32 channels and a uint8 label at the spacing that the network sees."""
    axes = len(looks[0].shape)
    target = list(np.median([look.spacing for look in looks], axis=0))
    if workflow is not None and workflow.data.spacing is not None and len(workflow.data.spacing) == axes:
        target = list(workflow.data.spacing)
    voxels = [float(np.prod(shape_at(look.shape, look.spacing, target))) for look in looks]
    return np.array([n * (4 * max(1, len(look.channels)) + 1) for n, look in zip(voxels, looks, strict=True)])


def judge_resources(needs: dict[str, Any], workflow: Workflow | None) -> Iterator[CaseProblem]:
    """Complain where the disk, the memory or the GPU is too small."""
    if needs.get("disk", 0) > needs.get("disk_free", 0):
        need, free = gigabytes(needs["disk"]), gigabytes(needs["disk_free"])
        message = f"prepared arrays and the model take about {need}, and {free} of disk space are free"
        yield CaseProblem("little-disk", "warning", None, message)
    if needs.get("memory", 0) > needs.get("memory_free", 0):
        need, free = gigabytes(needs["memory"]), gigabytes(needs["memory_free"])
        message = f"processing it and similar cases takes about {need} of memory, and {free} are free"
        yield CaseProblem("little-memory", "warning", needs["largest"], message)
    if workflow is None or not needs or workflow.training.device == "cpu" or (left := free_gpu_memory()) is None:
        return
    needs["gpu_free"] = left
    if left < GPU:
        message = f"the GPU has {gigabytes(left)} of memory free, and patches of the usual size need {gigabytes(GPU)}"
        yield CaseProblem("little-gpu-memory", "warning", None, message)
