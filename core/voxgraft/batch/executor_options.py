"""The options that every executor of this project has."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

from ..components.choice import Options


class ExecutorOptions(Options):
    """What `voxgraft segment` hands to executors; one that has other options of its own adds them."""

    workers: Annotated[int, Ge(1)] | None = None
    """Number of workers; by default one on this machine, or as many as a cluster has room for."""
    device: str = "auto"
    """Device: auto, cpu, cuda or cuda:1."""
    seconds: Annotated[float, Gt(0)] | None = None
    """Time limit in seconds for a whole task; a worker that takes longer is ended. Threads cannot enforce it."""
    gigabytes: Annotated[float, Gt(0)] | None = None
    """Memory limit in GB (1e9 bytes) for a worker; one that takes more is ended. Threads cannot enforce it."""
    alone: bool = False
    """Give a worker its next task only when it has ended the last one: for long tasks, and tasks that share nothing."""
