"""What a batch hands to its workers, and what they hand back: values that can be sent to another process or machine.

A worker gets a task and writes masks, picture and report of the scan into a staged folder below the batch's own; the
parent puts that folder in its place and writes the ledger. So a task that two workers have done, because the first was
taken for dead, still has one result, and no worker needs the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from .entry import Entry
    from .remote import Remote


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


@dataclass(frozen=True, slots=True)
class ScanTask:
    """One scan to be segmented.

    Attributes:
        model: The fingerprint of the package; the worker holds the package itself, loaded once.
        entry: The scan: its case id, and the items to read.
        out: The batch's folder, which the worker must be able to write.
        writers: Names that were asked for; None for the usual ones.
        timeout: Seconds for each stage; None for the usual ones.
        remote: Where files lie in object storage.
    """

    model: str
    entry: Entry
    out: Path
    writers: tuple[str, ...] | None = None
    timeout: float | None = None
    remote: Remote | None = None


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What became of a scan.

    Attributes:
        state: `done` or `failed`.
        staged: The name of the folder below the batch's own that holds its files; empty where it has failed.
        outputs: File -> SHA-256 of what stands in it.
        structures: Name -> what was measured of it.
        flags: What a person should look at, each with `code` and `message`.
        seconds: Stage (`read`, `predict`, `write`) -> how long it took.
        peak_mb: The highest memory of the worker while the scan was predicted, in megabytes.
        input_hash: A fingerprint of the bytes that were read; empty where they could not be.
        code: What kind of failure it is, a stable word.
        error: One sentence for a person.
        counts: The failed try counts; it does not where the disk was full.
        notes: What a user should know of how the model is applied where this was done.
    """

    case: str
    state: str
    staged: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    structures: Mapping[str, Any] = field(default_factory=dict)
    flags: Sequence[Mapping[str, Any]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_mb: float | None = None
    input_hash: str = ""
    code: str = ""
    error: str = ""
    counts: bool = True
    notes: tuple[str, ...] = ()
