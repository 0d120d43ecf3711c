"""What the engine asks of executors, and the spec by which plugins offer them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ..components.catalogue import C, Component


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task.

    Attributes:
        task: The task itself.
        value: What the work gave.
        error: What the work raised, or `WorkerLost`; None where it gave a value.
    """

    task: Any
    value: Any = None
    error: BaseException | None = None


class Executor(Protocol):
    """Spreads tasks over workers: threads, processes, machines."""

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Outcome]:
        """Yield the outcome of each task, in the order they end; each task has one outcome, and none stops the others.

        Tasks are taken from their iterable in the caller's thread, and only as there is room for them: never more than
        the workers can have under way, and a few. Every worker keeps its own copy of the work (or shares the caller's,
        where it is a thread), so what the work makes ready in its first call, such as a model, is there in the next.
        A worker that is lost is replaced, and its task is done once more. An executor on KeyboardInterrupt may yield
        what ends at once, and raises it then. When the iterator is closed nothing is under way any more.

        Args:
            work: What is done with a task. Executors that are not of this process pickle it, once for each worker, and
                tasks and values too.
            tasks: Are not looked into.

        Raises:
            VoxGraftError: No worker can be begun.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSpec(Component[C, Executor]):
    """A way of spreading a batch's scans over workers."""

    kind = "executor"
