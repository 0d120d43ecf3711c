"""Who is connected: leases with two clocks, one for the person at the viewer, one for the program itself.

A lease ends when its person has done nothing for the idle time, or its program has not been heard of for the liveness
time, a heartbeat included. What was drawn is on disk and stays; only the place at the server is given to others.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .refused import Refused

S = TypeVar("S")


@dataclass
class Lease(Generic[S]):
    """One client's place.

    Attributes:
        held: What the client works on.
        lock: Held while one of its requests is done, for a client may send two at once.
        active: When the person last did something, by the clock of `Leases`.
        seen: When the program was last heard of.
    """

    held: S
    active: float
    seen: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Leases(Generic[S]):
    """The leases of a server; its methods may be called from several threads.

    Args:
        make: Makes what a new client works on.
        end: Is called with it when the lease ends.
        most: How many clients there may be at once.
        idle: Seconds without anything done by the person after which a lease ends.
        liveness: Seconds without any request after which a lease ends.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        make: Callable[[], S],
        end: Callable[[S], None],
        *,
        most: int = 8,
        idle: float = 600.0,
        liveness: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.make, self.end, self.most, self.idle, self.liveness, self.clock = make, end, most, idle, liveness, clock
        self._leases: dict[str, Lease[S]] = {}
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        return len(self._leases)

    def claim(self, make: Callable[[], S] | None = None) -> str:
        """A new lease's token.

        Args:
            make: Makes what this client works on; by default what all do.

        Raises:
            Refused: 503, all places are taken.
        """
        self.sweep()
        with self._mutex:
            if len(self._leases) >= self.most:
                raise Refused(503, f"all {self.most} places of this server are taken; try again later")
            token, now = secrets.token_urlsafe(32), self.clock()
            self._leases[token] = Lease((make or self.make)(), now, now)
            return token

    def get(self, token: str, *, active: bool = False, seen: bool = True) -> Lease[S]:
        """The lease of a token.

        Args:
            token: What `claim` gave.
            active: The person did something.
            seen: The program is there; False where a question must not lengthen anything.

        Raises:
            Refused: 410, there is none, or it has ended.
        """
        self.sweep()
        with self._mutex:
            lease = self._leases.get(token)
            if lease is None:
                raise Refused(410, "this session has ended or was never begun; connect again, your work is kept")
            now = self.clock()
            lease.seen = now if seen or active else lease.seen
            lease.active = now if active else lease.active
            return lease

    def remaining(self, lease: Lease[S]) -> float:
        """Seconds until a lease ends if its person does nothing."""
        return max(0.0, self.idle - (self.clock() - lease.active))

    def release(self, token: str) -> None:
        """End a lease; one that has ended already is left alone."""
        with self._mutex:
            lease = self._leases.pop(token, None)
        self._end(lease)

    def sweep(self) -> None:
        """End the leases whose time is over; one whose request is being done stays."""
        now = self.clock()
        with self._mutex:
            over = [token for token, lease in self._leases.items() if self._is_over(lease, now)]
            ended = [self._leases.pop(token) for token in over]
        for lease in ended:
            self._end(lease)

    def close(self) -> None:
        """End every lease."""
        for token in list(self._leases):
            self.release(token)

    def _is_over(self, lease: Lease[S], now: float) -> bool:
        late = now - lease.seen > self.liveness or now - lease.active > self.idle
        return late and not lease.lock.locked()

    def _end(self, lease: Lease[S] | None) -> None:
        if lease is not None:
            with lease.lock:
                self.end(lease.held)
