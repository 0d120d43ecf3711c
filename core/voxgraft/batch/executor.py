"""What the engine asks of executors, and the spec by which plugins offer them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ..components.component import C, Component


class Executor(Protocol):
    """Runs the scans of a batch."""

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
        """Yield the outcome of each task in the order they end; one failing task does not stop the others."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSpec(Component[C, Executor]):
    """A way of spreading a batch's scans over workers."""

    kind = "executor"
