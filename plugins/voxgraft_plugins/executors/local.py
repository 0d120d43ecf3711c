"""The local executor: a few threads, and never more tasks at once than they can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Annotated, Any

from annotated_types import Ge

from voxgraft.plugin import Options


class LocalExecutor:
    """Runs tasks in threads. Tasks are taken from their source one by one, as places become free."""

    def __init__(self, options: LocalOptions) -> None:
        self._workers = options.workers

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the outcome of each task in the order they end; for a task that raises, its exception.

        One task more than there are workers is under way or waiting for its outcome to be taken: while the caller
        deals with one outcome, every worker has something to do. Closing the iterator lets begun tasks end;
        KeyboardInterrupt does not wait for them.
        """
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="voxgraft")
        pending: list[Future[Any]] = []
        patient = True
        try:
            for task in tasks:
                pending.append(pool.submit(work, task))
                if len(pending) > self._workers:
                    yield _outcome(_next(pending))
            while pending:
                yield _outcome(_next(pending))
        except KeyboardInterrupt:  # only the caller knows how to end what is under way
            patient = False
            raise
        finally:
            pool.shutdown(wait=patient, cancel_futures=True)


def _next(pending: list[Future[Any]]) -> Future[Any]:
    """Take an ended task out of those that are pending: the one that was begun first."""
    ended, _ = wait(pending, return_when=FIRST_COMPLETED)
    return pending.pop(next(index for index, future in enumerate(pending) if future in ended))


def _outcome(future: Future[Any]) -> Any:
    error = future.exception()
    return future.result() if error is None else error


class LocalOptions(Options):
    """Threads of this process."""

    workers: Annotated[int, Ge(1)] = 1
    """Threads that read, and as many that write; each holds one scan in memory."""
