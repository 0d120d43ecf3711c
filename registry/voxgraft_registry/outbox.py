"""Points of curves on their way to MLflow: none twice, and none lost while the server is away."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from voxgraft.errors import TrackingError

from .parameters import key_of

PAUSE = 30.0
"""Seconds between two tries while the server is away, so that training does not wait for it at every step."""


class Point(NamedTuple):
    """One number of a curve; the time is in milliseconds since 1970."""

    key: str
    value: float
    step: int
    time: int


class Outbox:
    """Sends points as they come. What cannot be sent stays in a file of the run's folder, also when the run is killed.

    Args:
        send: Sends points, or raises a TrackingError.
        say: Tells the user that the server is away, or back.
        known: The points that are already there, by key and step; they are not sent again. A training that goes on from
            its checkpoint repeats the steps since then, with other times. What stands at step 0 belongs to no curve:
            it is a single number, which is sent again when it has changed.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Point]], None],
        say: Callable[[str], None],
        file: Path,
        known: dict[tuple[str, int], float],
    ) -> None:
        self._send, self._say, self._file, self._known = send, say, file, known
        self._waiting: list[Point] = []
        self._kept = 0
        self._next_try = 0.0
        self._told = False
        self._take(_read(file))
        self._kept = len(self._waiting)

    @property
    def away(self) -> bool:
        """The last try failed, and the next is not due yet."""
        return time.monotonic() < self._next_try

    @property
    def waiting(self) -> int:
        """How many points could not be sent yet."""
        return len(self._waiting)

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers; those that are not finite have no place in a curve and are left out."""
        now = int(time.time() * 1000)
        self._take(
            Point(key_of(name), float(value), step, now)
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        )
        self.flush(only_if_due=True)

    def flush(self, *, only_if_due: bool = False) -> None:
        """Send what waits; where that fails it is kept in the file."""
        if not only_if_due:
            self._next_try = 0.0
        if self._waiting and not self.away:
            try:
                self._send(self._waiting)
            except TrackingError as error:
                if not self._told:
                    self._say(f"tracking: {error}; the run continues, and tries again every {PAUSE:g} s")
                self._told = True
                self.pause()
            else:
                if self._told:
                    self._say(f"tracking: the server answers again; {len(self._waiting)} points were sent")
                self._next_try, self._kept, self._told = 0.0, 0, False
                self._waiting.clear()
                self._file.unlink(missing_ok=True)
        self._keep()

    def pause(self) -> None:
        """Leave the server alone for a while: it did not answer."""
        self._next_try = time.monotonic() + PAUSE

    def _take(self, points: Iterable[Point]) -> None:
        for point in points:
            key = (point.key, point.step)
            if key not in self._known or (point.step == 0 and self._known[key] != point.value):
                self._known[key] = point.value
                self._waiting.append(point)

    def _keep(self) -> None:
        if len(self._waiting) > self._kept:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(point) + "\n" for point in self._waiting[self._kept :])
            self._kept = len(self._waiting)


def _read(file: Path) -> list[Point]:
    """The points an earlier process could not send; a line that it did not finish is left out."""
    points = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            key, value, step, when = json.loads(line)
            points.append(Point(str(key), float(value), int(step), int(when)))
        except (ValueError, TypeError):
            continue
    return points
