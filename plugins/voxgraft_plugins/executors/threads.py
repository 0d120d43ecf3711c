"""The executor of one machine, and threads of this process: they share one copy of the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from voxgraft.plugin import Executor, ExecutorOptions, Outcome, UsageError

GRACE = 3.0
"""Seconds in which what is under way may end by itself when the batch is stopped by hand."""


def local(options: ExecutorOptions) -> Executor:
    """Processes for several GPUs, or for several workers on a CPU, or where a limit is to be kept; else threads.

    One GPU is kept busy by one copy of the model, with scans read and written beside it; a second copy would only take
    its memory.
    """
    limited = options.seconds is not None or options.gigabytes is not None
    if limited or (options.workers or 1) > 1:
        from .processes import Processes, gpus

        if limited or gpus(options.device) != 1:
            return Processes(options)
    return Threads(options)


class Threads:
    """Runs tasks in threads, of each worker one that reads and one that writes, and one in all that predicts; never
    more tasks are under way than there are threads.

    Raises:
        UsageError: A limit of time or memory is set.
    """

    def __init__(self, options: ExecutorOptions) -> None:
        if options.seconds is not None or options.gigabytes is not None:
            raise UsageError(
                "the executor 'threads' cannot end a scan that takes too long or too much memory: Python cannot end a "
                "thread; take `--executor processes`"
            )
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
