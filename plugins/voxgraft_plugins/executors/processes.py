"""Processes of this machine, one a GPU or some cores each, with a copy of the work of their own."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from voxgraft.plugin import Answer, Child, ExecutorOptions, Outcome, WorkerLost

TRIES = 2
"""A task whose worker was lost is done once more, with nothing else under way."""

_LOOK = 0.2
"""Seconds between two looks at the limits."""


@dataclass(slots=True)
class _Job:
    """A task on its way.

    Attributes:
        why: How its worker was lost, at the last try.
    """

    task: Any
    tries: int = 0
    since: float = 0.0
    why: str = ""


@dataclass(slots=True)
class _Worker:
    """A process, and what it is at.

    Attributes:
        place: Its number, which says its GPU.
        guilty: The job for which it was ended; the others it was at did nothing.
    """

    child: Child
    place: int
    ready: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)
    guilty: _Job | None = None


class Processes:
    """Runs tasks in processes. One that dies, hangs or takes too much memory is ended and replaced."""

    def __init__(self, options: ExecutorOptions) -> None:
        found = gpus(options.device)
        wanted = options.workers or max(1, found)
        self._seconds, self._gigabytes = options.seconds, options.gigabytes
        self._number = min(wanted, found) if found > 1 else wanted
        self._gpus = found if found > 1 else 0
        # Beside a GPU the next scan is read and the last one written; where memory is limited, a scan is alone.
        self._threads = 3 if found and self._gigabytes is None and not options.alone else 1

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Outcome]:
        """See `voxgraft.plugin.Executor`. Closing ends what is under way at once."""
        batch = _Batch(pickle.dumps(work), self._begun)
        try:
            for task in tasks:
                batch.give(_Job(task), self._number, self._threads)
                while batch.full(self._number, self._threads):
                    yield from self._taken(batch)
            while batch.busy:
                yield from self._taken(batch)
            while batch.again:  # one by one: what ended a worker takes no other task with it
                batch.give(batch.again.popleft(), 1, 1)
                while batch.busy:
                    yield from self._taken(batch)
        finally:
            batch.end()

    def _begun(self, work: bytes, place: int, told: Callable[[Answer], None]) -> Child:
        environment = {}
        if self._gpus:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            names = visible if visible != [""] else [str(number) for number in range(self._gpus)]
            environment["CUDA_VISIBLE_DEVICES"] = names[place % len(names)]
        if "OMP_NUM_THREADS" not in os.environ:
            environment["OMP_NUM_THREADS"] = str(max(1, cores() // self._number))
        return Child(work, told, self._threads, environment)

    def _taken(self, batch: _Batch) -> Iterator[Outcome]:
        """Wait for answers a moment, then look at the limits."""
        yield from batch.answers(_LOOK)
        now = time.monotonic()
        for worker in batch.workers:
            for job in worker.jobs.values() if worker.ready else ():
                if self._seconds is not None and now - job.since > self._seconds:
                    worker.guilty, job.why = job, f"it took longer than {self._seconds:g} s"
            if self._gigabytes is not None and worker.jobs and worker.child.memory() > self._gigabytes * 1e9:
                worker.guilty = next(iter(worker.jobs.values()))
                worker.guilty.why = f"it took more than {self._gigabytes:g} GB of memory"
            if worker.guilty is not None:
                worker.child.end()


class _Batch:
    """The workers of one run, and the tasks that they are at."""

    def __init__(self, work: bytes, begun: Callable[[bytes, int, Callable[[Answer], None]], Child]) -> None:
        self._work, self._begun = work, begun
        self._told: SimpleQueue[Answer] = SimpleQueue()
        self._number = 0
        self.workers: list[_Worker] = []
        self.again: deque[_Job] = deque()

    @property
    def busy(self) -> bool:
        return any(worker.jobs for worker in self.workers)

    def full(self, number: int, threads: int) -> bool:
        """Whether no worker can take one more."""
        return len(self.workers) >= number and all(len(worker.jobs) >= threads for worker in self.workers)

    def give(self, job: _Job, number: int, threads: int) -> None:
        """Give a task to the worker that has least to do, or to a new one where there may be one more."""
        worker = min(self.workers, key=lambda worker: len(worker.jobs), default=None)
        if worker is None or (worker.jobs and len(self.workers) < number):
            places = {worker.place for worker in self.workers}
            place = next(place for place in range(number) if place not in places)
            worker = _Worker(self._begun(self._work, place, self._told.put), place)
            self.workers.append(worker)
        self._number += 1
        job.tries, job.since = job.tries + 1, time.monotonic()
        worker.jobs[self._number] = job
        worker.child.ask(self._number, job.task)

    def answers(self, seconds: float) -> Iterator[Outcome]:
        """The outcomes that have come; waits for one so long.

        Raises:
            WorkerLost: A worker died before it could begin: so will the next.
        """
        wait = True
        while True:
            try:
                answer = self._told.get(timeout=seconds) if wait else self._told.get_nowait()
            except Empty:
                return
            wait = False
            worker = next((worker for worker in self.workers if worker.child is answer.child), None)
            if worker is not None:
                yield from self._heard(worker, answer)

    def _heard(self, worker: _Worker, answer: Answer) -> Iterator[Outcome]:
        if answer.number is None:
            self.workers.remove(worker)
            if not worker.ready and worker.guilty is None:
                raise WorkerLost(f"a worker process {worker.child.ended} before it could begin; see what it said above")
            for job in worker.jobs.values():
                yield from self._lost(job, worker)
        elif worker.ready:
            job = worker.jobs.pop(answer.number)
            yield Outcome(job.task, answer.value, answer.error)
        elif answer.error is not None:
            raise answer.error
        else:
            worker.ready = True
            for job in worker.jobs.values():  # how long a process takes to begin is not the fault of a scan
                job.since = time.monotonic()

    def _lost(self, job: _Job, worker: _Worker) -> Iterator[Outcome]:
        """A task whose worker is no more: it is done once more, unless that was the second time."""
        if worker.guilty is None:
            job.why = f"its worker process {worker.child.ended} (was there enough memory?)"
        elif job is not worker.guilty:
            job.tries -= 1
        if job.tries < TRIES:
            self.again.append(job)
        else:
            yield Outcome(job.task, error=WorkerLost(f"{job.why}, at the second try too"))

    def end(self) -> None:
        for worker in self.workers:
            worker.child.end()


def gpus(device: str) -> int:
    """How many GPUs a batch may use: none on a CPU, one where it is named, else all that are visible."""
    if device.startswith("cuda:"):
        return 1
    if device == "cpu" or not (device == "cuda" or shutil.which("nvidia-smi")):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Windows and macOS have none
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1
