"""Threads of this process, which share one copy of the work, and never more tasks at once than there are threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from voxgraft.plugin import ExecutorOptions, Outcome

from .options import refuse_limits

GRACE = 3.0
"""Seconds in which what is under way may end by itself when the batch is stopped by hand."""


class Threads:
    """Runs tasks in threads: of each worker one that reads and one that writes, and one in all that predicts."""

    def __init__(self, options: ExecutorOptions) -> None:
        refuse_limits("threads", options)
        self._threads = 2 * (options.workers or 1) + 1

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Outcome]:
        """See `voxgraft.plugin.Executor`. Closing lets begun tasks end; KeyboardInterrupt waits for them a moment."""
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="voxgraft")
        pending: dict[Future[Any], Any] = {}
        patient = True
        try:
            for task in tasks:
                pending[pool.submit(work, task)] = task
                if len(pending) >= self._threads:
                    yield from _ended(pending)
            while pending:
                yield from _ended(pending)
        except KeyboardInterrupt:  # only the caller knows how to end what is still under way then
            patient = False
            end = time.monotonic() + GRACE
            while pending and (left := end - time.monotonic()) > 0:
                yield from _ended(pending, left)
            raise
        finally:
            pool.shutdown(wait=patient, cancel_futures=True)


def _ended(pending: dict[Future[Any], Any], seconds: float | None = None) -> Iterator[Outcome]:
    """Take out the tasks that have ended, in the order they were begun; wait for one where none has."""
    ended, _ = wait(pending, seconds, FIRST_COMPLETED)
    for future in [future for future in pending if future in ended]:
        task, error = pending.pop(future), future.exception()
        yield Outcome(task, None if error else future.result(), error)
