"""The options that every executor of this project has."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

from ..components.choice import Options


class ExecutorOptions(Options):
    """What `voxgraft segment` hands to executors; one that has other options of its own adds them."""

    workers: Annotated[int, Ge(1)] | None = None
    """How many; by default one here, or what a cluster has room for."""
    device: str = "auto"
    """What the work computes on: auto, cpu, cuda or cuda:1."""
    seconds: Annotated[float, Gt(0)] | None = None
    """For the whole of a task; its worker is ended then. Threads cannot keep such a limit."""
    gigabytes: Annotated[float, Gt(0)] | None = None
    """Of memory for a worker, which is ended where it takes more (1 GB = 1e9 bytes). Threads cannot keep it."""
    alone: bool = False
    """A worker takes no task before it has ended the last: for long ones, and those that share nothing with others."""
