"""The time that advice may take: asked inside every loop, so that it ends when it was told to."""

from __future__ import annotations

import time

from ..progress import Bar, Progress


class TimeUp(Exception):
    """The minutes are used up; what was found so far stands."""


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

    def check(self) -> None:
        """Raises:
        TimeUp: There is no time left.
        """
        if self.left <= 0:
            raise TimeUp


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
