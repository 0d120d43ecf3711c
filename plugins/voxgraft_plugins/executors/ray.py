"""The machines of a Ray cluster: actors that hold the work, restarted by Ray where a machine or a process is lost."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar
from urllib.parse import urlsplit

from voxgraft.plugin import ExecutorOptions, Outcome, UsageError, WorkerLost

AHEAD = 2
"""Tasks for each worker: one it is at, and the next, which it then need not wait for."""

TRIES = 2
"""A task whose worker was lost is done once more."""

INLINE = 90_000
"""Bytes that Ray sends with the call itself, and not through its store of objects."""

_LOOK = 1.0
"""Seconds between two looks at the limits."""

_ASK = 3.0
"""Seconds between two questions whether a lost actor has been begun anew."""


_PATIENCE = 10.0
"""Seconds in which a cluster has to answer."""


class RayOptions(ExecutorOptions):
    """Actors of a Ray cluster."""

    address: str = ""
    """`ray://HOST:PORT`; by default RAY_ADDRESS, the cluster that this machine is in, or a new one here."""
    cpus: float = 1.0
    """Cores for each worker; with more than one it computes with several threads."""


class _Worker:
    """What an actor is: one copy of the work, made ready once, asked many times."""

    def __init__(self, path: list[str], work: bytes, gigabytes: float | None) -> None:
        sys.path[:] = list(dict.fromkeys([*sys.path, *path]))
        if gigabytes is not None:
            threading.Thread(target=_watch, args=(gigabytes,), daemon=True).start()
        self._work: Callable[[Any], Any] = pickle.loads(work)

    def there(self) -> None:
        """Answers as soon as the actor is there."""

    def do(self, task: bytes) -> bytes:
        """The pickle of whether it succeeded, and of the value or the error."""
        try:
            return pickle.dumps((True, self._work(pickle.loads(task))))
        except BaseException as error:
            try:
                data = pickle.dumps((False, error))
                pickle.loads(data)
            except Exception:
                data = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
            return data


def _watch(gigabytes: float) -> None:
    """End this process as soon as it takes too much memory."""
    import psutil

    own = psutil.Process()
    while own.memory_info().rss < gigabytes * 1e9:
        time.sleep(_LOOK / 4)
    os._exit(1)


def _reach(address: str) -> None:
    """See whether a cluster answers at `ray://HOST:PORT` or HOST:PORT; Ray itself tries for half a minute or longer.

    Raises:
        UsageError: None does, or the address is none.
    """
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = place.port or (10001 if place.scheme == "ray" else 0)
    except ValueError:
        port = None
    if port is None or (place.scheme and (place.scheme != "ray" or not place.hostname)):
        raise UsageError(f"{address}: is no address of a Ray cluster; write ray://HOST:PORT")
    if place.scheme and find_spec("grpc") is None:
        raise UsageError("ray://HOST:PORT needs Ray with its client: pip install 'voxgraft[cluster]'")
    if not port or not place.hostname:
        return  # `auto` and `local`
    try:
        socket.create_connection((place.hostname, port), _PATIENCE).close()
        if find_spec("grpc") is not None and os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
            _greet(f"{place.netloc.rpartition(':')[0] or place.netloc}:{port}")
    except OSError as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None


def _greet(place: str) -> None:
    """Raises:
    TimeoutError: Whoever listens there is no server of Ray's kind.
    """
    import grpc

    with grpc.insecure_channel(place) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_PATIENCE)
        except grpc.FutureTimeoutError:
            raise TimeoutError("something else listens there") from None


class Cluster:
    """Runs tasks in actors. Ray restarts one that is lost, elsewhere if need be, and does its task once more."""

    _joined: ClassVar[str | None] = None
    """Where this process was connected by an executor. Ray has one connection for a process, whoever asks for it: an
    executor that ended it when it was collected ended it for the batch that had come after."""

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a cluster that was lost is not replaced by one here
        try:
            import ray
        except ImportError:
            raise UsageError(
                "the executor 'ray' needs Ray, which is not installed: pip install 'voxgraft[cluster]'"
            ) from None
        self._ray: Any = ray

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Outcome]:
        """See `voxgraft.plugin.Executor`. Closing ends the actors, and what they are at."""
        ray, left = self._ray, iter(tasks)
        first = next(left, None)
        if first is None:
            return
        self._connect()
        actors: list[Any] = []
        try:
            held, actors = self._actors(pickle.dumps(work))
            yield from _Batch(ray, actors, self._options).run(first, left)
            del held
        except (ConnectionError, ray.exceptions.RaySystemError) as error:
            with suppress(Exception):
                ray.shutdown()  # so that the next batch connects anew
            raise WorkerLost(
                f"the Ray cluster answers no more: {_first(error)}; the same call does what is missing"
            ) from error
        finally:
            with suppress(ConnectionError, ray.exceptions.RayError):
                for actor in actors if ray.is_initialized() else ():
                    ray.kill(actor)

    def _connect(self) -> None:
        """Connect this process to the cluster, or keep the connection that it has; Ray ends it with the process.

        Raises:
            UsageError: Nothing answers at the address, or it is none.
        """
        address = self._options.address or os.environ.get("RAY_ADDRESS") or ""
        if self._ray.is_initialized():
            if Cluster._joined in (None, address):  # None: the caller connected
                return
            self._ray.shutdown()
        _reach(address)
        try:
            self._ray.init(address=address or None, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, self._ray.exceptions.RayError) as error:
            raise UsageError(f"no Ray cluster answers at {address or 'this machine'}: {_first(error)}") from error
        Cluster._joined = address

    def _actors(self, work: bytes) -> tuple[Any, list[Any]]:
        """The work, to be kept as long as a worker may be begun anew; and the workers, as many as there is room for."""
        options, room = self._options, self._ray.cluster_resources()
        gpu = options.device != "cpu" and room.get("GPU", 0) >= 1
        usual = room.get("GPU", 0) if gpu else room.get("CPU", 1) / max(options.cpus, 0.01)
        memory = {} if options.gigabytes is None else {"memory": int(options.gigabytes * 1e9)}
        actor = self._ray.remote(_Worker).options(
            num_cpus=options.cpus,
            num_gpus=1 if gpu else 0,
            max_restarts=-1,
            **memory,
        )
        number = options.workers or max(1, int(usual))
        held = work if len(work) < INLINE else self._ray.put(work)
        return held, [actor.remote(sys.path, held, options.gigabytes) for _ in range(number)]


@dataclass(slots=True)
class _Job:
    """A task on its way.

    Attributes:
        tries: How often a worker was lost while it was at this task.
        ended: Its worker was ended because it took too long.
        alone: It was owed by a worker that was lost, and is tried again with nothing else there: what comes right after
            a task can end the worker before the answer is on its way.
        life: The life of the actor that it was given to; see `_Queue.life`.
    """

    task: Any
    tries: int = 0
    ended: bool = False
    alone: bool = False
    life: int = 0


@dataclass(slots=True)
class _Queue:
    """What an actor is at.

    Attributes:
        owed: The answers it owes, in the order in which it gives them.
        since: When it began with the first.
        there: It has begun. Ray begins one when there is room for it, which may be never: until then it gets no task.
        asked: Comes when it has begun.
        again: When it may be asked once more.
        life: How often it was lost at a task. What it owed besides is lost with it, and did not end it.
    """

    actor: Any
    owed: dict[Any, _Job] = field(default_factory=dict)
    since: float = 0.0
    there: bool = False
    asked: Any = None
    again: float = 0.0
    life: int = 0


class _Batch:
    """The tasks of one run that are under way."""

    def __init__(self, ray: Any, actors: list[Any], options: RayOptions) -> None:
        self._ray, self._seconds, self._gigabytes = ray, options.seconds, options.gigabytes
        self._ahead = 1 if options.alone else AHEAD
        self._queues = [_Queue(actor) for actor in actors]
        self._again: list[_Job] = []

    def run(self, first: Any, left: Iterator[Any]) -> Iterator[Outcome]:
        self._again.append(_Job(first))
        for task in left:
            self._again.append(_Job(task))
            while self._under_way() >= self._ahead * len(self._queues):
                yield from self._taken()
        while self._under_way():
            yield from self._taken()

    def _under_way(self) -> int:
        return len(self._again) + sum(len(queue.owed) for queue in self._queues)

    def _give(self) -> None:
        """Give what waits to the actors that have least to do; what was lost before, to one that has nothing else."""
        while self._again:
            job = self._again[0]
            free = [
                queue for queue in self._queues if queue.there and not any(one.alone for one in queue.owed.values())
            ]
            queue = min(free, key=lambda queue: len(queue.owed), default=None)
            if queue is None or len(queue.owed) >= (1 if job.alone else self._ahead):
                return
            if not queue.owed:
                queue.since = time.monotonic()
            job.life = queue.life
            queue.owed[queue.actor.do.remote(pickle.dumps(job.task))] = self._again.pop(0)

    def _taken(self) -> Iterator[Outcome]:
        if not self._ray.is_initialized():
            raise ConnectionError("the connection is lost")
        self._give()
        answers = {answer: queue for queue in self._queues for answer in queue.owed}
        asked = self._asked()
        if not answers and not asked:
            time.sleep(_LOOK)
            return
        awaited = [*answers, *asked]
        ready, _ = self._ray.wait(awaited, num_returns=1, timeout=_LOOK)
        if ready:  # all that are, in the order in which they were asked for: who was lost at what depends on it
            ready, _ = self._ray.wait(awaited, num_returns=len(awaited), timeout=0)
        for answer in [one for one in awaited if one in ready]:
            if answer in asked:
                self._returned(asked[answer])
            else:
                yield from self._told(answers[answer], answer)
        self._end_what_hangs()

    def _asked(self) -> dict[Any, _Queue]:
        """Ask the actors that are not there whether they have begun."""
        for queue in self._queues:
            if not queue.there and queue.asked is None and time.monotonic() > queue.again:
                queue.asked = queue.actor.there.remote()
        return {queue.asked: queue for queue in self._queues if queue.asked is not None}

    def _returned(self, queue: _Queue) -> None:
        """An actor has begun, or is still to be begun anew, or will never be."""
        answer, queue.asked = queue.asked, None
        try:
            self._ray.get(answer)
            queue.there = True
        except self._ray.exceptions.ActorUnavailableError:
            queue.again = time.monotonic() + _ASK
        except self._ray.exceptions.RayError as error:
            self._queues.remove(queue)
            if not self._queues:
                raise WorkerLost(f"no worker can begin on the cluster: {_first(error)}") from error

    def _told(self, queue: _Queue, answer: Any) -> Iterator[Outcome]:
        """The outcome of a task; none where its actor was lost for the first time, and it is given once more."""
        first = next(iter(queue.owed)) == answer
        job = queue.owed.pop(answer)
        queue.since = time.monotonic()
        try:
            succeeded, value = pickle.loads(self._ray.get(answer))
        except self._ray.exceptions.RayActorError:
            queue.there, job.alone = False, True
            if first and job.life == queue.life:  # it was at this one when it was lost
                job.tries += 1
                queue.life += 1
            if job.tries < TRIES:
                self._again.insert(0, job)
                return
            yield Outcome(job.task, error=WorkerLost(f"{self._why(job)}, at the second try too"))
        except self._ray.exceptions.RayError as error:
            yield Outcome(job.task, error=WorkerLost(f"the cluster gave it up: {_first(error)}"))
        else:
            yield Outcome(job.task, value) if succeeded else Outcome(job.task, error=value)

    def _why(self, job: _Job) -> str:
        if job.ended:
            return f"it took longer than {self._seconds:g} s"
        lost = "its worker, or the machine that it was on, was lost"
        return lost if self._gigabytes is None else f"it took more than {self._gigabytes:g} GB of memory, or {lost}"

    def _end_what_hangs(self) -> None:
        """End the process of an actor whose task takes too long; Ray begins it anew."""
        now = time.monotonic()
        for queue in self._queues:
            if self._seconds is not None and queue.owed and now - queue.since > self._seconds:
                next(iter(queue.owed.values())).ended = True
                queue.since = now
                self._ray.kill(queue.actor, no_restart=False)


def _first(error: Exception) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
