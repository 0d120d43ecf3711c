"""The time that advice may take: asked inside every loop, and an alarm for what has none, so that it ends in time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from ..support.progress import Bar, Progress

AGAIN = 1.0
"""Seconds after which the alarm rings again, should something have swallowed it."""
SOON = 0.001
"""Seconds after which it rings again where it must not."""
_SWITCHING = ("__init__", "__enter__", "__exit__", "_use_grad")
"""The functions of torch's context managers, and what turns gradients off and on around the step of an optimiser."""


class TimeUp(BaseException):
    """The minutes are used up; what was found so far stands.

    Like KeyboardInterrupt it is not an Exception: the alarm may ring inside a plugin, a reader or a writer, and whoever
    turns any error of theirs into a sentence must not take it for one.
    """


class Clock:
    """Counts down.

    Args:
        minutes: All of the time.
        since: When it began, by `time.monotonic`; by default now.
    """

    def __init__(self, minutes: float, since: float | None = None) -> None:
        self.total = 60 * minutes
        self._start = time.monotonic() if since is None else since

    @property
    def used(self) -> float:
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        return self.total - self.used

    @property
    def said(self) -> str:
        """How long the work may still take, for people."""
        return f"at most {timedelta(seconds=max(0, round(self.left)))} left"

    def part(self, share: float) -> Clock:
        """A clock whose time is up after this share of what is left."""
        part = Clock(0.0, self._start)
        part.total = self.used + share * self.left
        return part

    def check(self) -> None:
        """Raises:
        TimeUp: There is no time left.
        """
        if self.left <= 0:
            raise TimeUp

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """Raise TimeUp when time is up, wherever the work is: one slow step would be over long after the clock is asked
        again. Only where the system has such alarms (not on Windows), and in the main thread; another alarm that was
        set before is set again afterwards.
        """
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
            yield
            return
        began = time.monotonic()
        before = signal.signal(signal.SIGALRM, _ring)
        due, interval = signal.setitimer(signal.ITIMER_REAL, max(1e-3, self.left), AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if due > 0:
                signal.setitimer(signal.ITIMER_REAL, max(1e-3, due - (time.monotonic() - began)), interval)


def _ring(number: int, frame: FrameType | None) -> None:
    """Raise TimeUp, or ring once more in a moment: one of torch's switches (gradients, autocast, modes) that is left
    half turned on or off would stay so for all work after this."""
    if _turns_a_switch(frame):
        signal.setitimer(signal.ITIMER_REAL, SOON, AGAIN)
    else:
        raise TimeUp


def _turns_a_switch(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name in _SWITCHING and str(frame.f_globals.get("__name__")).split(".")[0] == "torch":
            return True
        frame = frame.f_back
    return False


class Watched(Progress):
    """Says nothing, and stops work that goes through it when time is up."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(quiet=True)
        self._clock = clock

    def bar(self, what: str, total: float | None) -> Bar:
        return _Checked(self, what, total, self._clock)


class _Checked(Bar):
    """Work under way that asks the clock whenever it gets on."""

    def __init__(self, progress: Progress, what: str, total: float | None, clock: Clock) -> None:
        super().__init__(progress, what, total)
        self._clock = clock

    def reach(self, done: float, note: str = "") -> None:
        self._clock.check()
        super().reach(done, note)
