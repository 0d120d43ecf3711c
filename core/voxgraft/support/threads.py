"""Work on many cases at once: reading and resampling leave the interpreter's lock most of the time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .progress import Progress

A = TypeVar("A")
B = TypeVar("B")


def in_threads(work: Callable[[A], B], items: Sequence[A], progress: Progress, what: str) -> list[B]:
    """The results in the order of the items; the first error stops the rest.

    Args:
        work: Is called once for each item, in some thread.
        items: What it is called with.
        progress: Shows how many are done.
        what: Stands before the bar.
    """
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        try:
            return list(progress.track(pool.map(work, items), what, total=len(items)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
