"""Work that ends by a time limit: the code of others may hang, and Python cannot kill a thread.

The work is done in a thread of its own, which is left behind where it does not end in time. A process in which such a
thread is still at work ends by `leave`, for the interpreter would wait for what that thread has begun.
A request to end (SIGTERM, from a job scheduler say) does what Ctrl-C does: what was done is left in order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import OutOfTime

T = TypeVar("T")

_NAME = "voxgraft-limited"
_LOOK = 0.1
"""Seconds between two looks at whether the work is to stop."""


class Stopped(BaseException):
    """Everything is to end; no fault of the work that was under way."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits for the stages of a batch.

    Attributes:
        seconds: For each stage of each scan; None for the usual ones, which grow with the scan.
        stop: Set when everything is to end at once.
    """

    seconds: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    USUAL = 600.0
    PER_MB = 1.0

    def for_bytes(self, number: float) -> float:
        """Seconds to read or write so many bytes."""
        return self.USUAL + self.PER_MB * number / 1e6 if self.seconds is None else self.seconds

    def within(self, seconds: float | None, doing: str, work: Callable[[], T]) -> T:
        """What some work gives, or raises.

        Args:
            seconds: How long it may take; None for ever.
            doing: What it is, for the message: `reading`.

        Raises:
            OutOfTime: It took longer; it may still be under way.
            Stopped: Everything is to end.
        """
        outcome: list[Any] = []
        ended = threading.Event()
        thread = threading.Thread(target=_work, args=(work, outcome, ended), name=_NAME, daemon=True)
        begun = time.monotonic()
        thread.start()
        while not ended.wait(_LOOK):
            if self.stop.is_set():
                raise Stopped
            if seconds is not None and time.monotonic() - begun > seconds:
                raise OutOfTime(f"{doing} took longer than {seconds:g} s and was given up (see --timeout)")
        succeeded, value = outcome
        if not succeeded:
            raise value
        result: T = value
        return result


def _work(work: Callable[[], Any], outcome: list[Any], ended: threading.Event) -> None:
    try:
        outcome[:] = True, work()
    except BaseException as error:
        outcome[:] = False, error
    finally:
        ended.set()


def leave(code: object) -> None:
    """End the process at once where something that hangs would keep it; otherwise do nothing."""
    if any(thread.name == _NAME for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


@contextmanager
def ending_gently() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread on SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
