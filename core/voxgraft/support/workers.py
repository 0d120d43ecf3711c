"""Work on many cases at once, in threads or in processes.

Reading and resampling leave the interpreter's lock most of the time. Worker processes end with the process that started
them, however that one ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TypeVar

from .machine import free_memory
from .progress import Progress


@contextmanager
def none_left() -> Iterator[None]:
    """Where what is done within fails or is stopped, end the processes at once that were begun there."""
    before = set(active_children())
    try:
        yield
    except BaseException:
        for process in set(active_children()) - before:
            process.kill()
        raise


@contextmanager
def worker_processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; where the work on its results fails or is stopped, they are ended at once."""
    pool = ProcessPoolExecutor(number, mp_context=get_context("spawn"), initializer=_begin)
    try:
        with none_left():
            yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        pool.shutdown()


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent answers to Ctrl-C
    end_with_parent()


def end_with_parent() -> None:
    """Make this process end as soon as its parent does, killed or not."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    """Wait for the pipe that the kernel closes when the parent ends; other threads may be busy or blocked then."""
    wait([sentinel])
    os._exit(1)


A = TypeVar("A")
B = TypeVar("B")


def in_threads(work: Callable[[A], B], items: Sequence[A], progress: Progress, what: str, *, each: int = 0) -> list[B]:
    """The results in the order of the items; the first error stops the rest.

    Args:
        work: Is called once for each item, in some thread.
        items: What it is called with.
        progress: Shows how many are done.
        what: Stands before the bar.
        each: Bytes of memory that the work on the largest item takes; no more are worked on at once than fit.
    """
    number = min(8, os.cpu_count() or 1)
    if each:
        number = max(1, min(number, free_memory() // each))
    with ThreadPoolExecutor(max_workers=number) as pool:
        try:
            return list(progress.track(pool.map(work, items), what, total=len(items)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
