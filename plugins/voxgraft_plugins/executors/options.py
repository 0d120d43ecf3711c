"""Options of the local executor."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from voxgraft.plugin import Options


class LocalOptions(Options):
    """Threads of this process."""

    workers: Annotated[int, Ge(1)] = 1
    """Threads that read, and as many that write; each holds one scan in memory."""
