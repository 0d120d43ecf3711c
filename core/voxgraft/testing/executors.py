"""Conformance checks of executors: every task has one outcome, whatever becomes of the others and of the workers."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..batch.task import Outcome
from ..errors import WorkerLost
from .conformance import NotApplicable, Subject, check, require

MANY = 10_000
"""Tasks of a batch that is not worked off: far more than any executor has under way."""

LASTS = 0.05
"""Seconds of the shortest task of a batch that is closed while others are under way."""


def _work(number: int) -> int:
    """What is done with a task; it stands here so that other processes can import it."""
    if number % 7 == 3:
        raise ValueError(f"task {number} fails")
    return 10 * number


class _Ready:
    """Work that makes something ready in its first call, as a batch loads its model."""

    def __init__(self) -> None:
        self._made = ""

    def __call__(self, number: int) -> str:
        self._made = self._made or secrets.token_hex(8)
        return self._made


@dataclass(frozen=True)
class _Lasting:
    """Work that leaves a file when it ends."""

    folder: Path

    def __call__(self, number: int) -> int:
        time.sleep(LASTS * (1 + number % 5))
        (self.folder / str(number)).touch()
        return number


@dataclass(frozen=True)
class _Deadly:
    """Work that ends its process: at task 3 the first time only, at task 5 each time."""

    folder: Path

    def __call__(self, number: int) -> int:
        mark = self.folder / str(number)
        if number == 5 or (number == 3 and not mark.exists()):
            mark.touch()
            os._exit(7)
        return os.getpid() if number == 0 else 10 * number


def _outcomes(subject: Subject, work: Any, tasks: Iterable[Any]) -> list[Outcome]:
    found = list(subject.build().run(work, tasks))
    strange = [one for one in found if not isinstance(one, Outcome)]
    require(not strange, f"it gives {strange[:1]}, and no Outcome")
    return found


@check("executor", "every task is done once, in any order")
def _every_task_is_done_once(subject: Subject, folder: Path) -> None:
    good = [number for number in range(30) if number % 7 != 3]
    found = _outcomes(subject, _work, good)
    told = sorted(outcome.task for outcome in found)
    require(told == good, f"of the tasks {good} it gives outcomes of {told}")
    wrong = [outcome for outcome in found if outcome.error is not None or outcome.value != 10 * outcome.task]
    require(not wrong, f"it gives {wrong[:1]}, and the work gives ten times the task")


@check("executor", "the exception of a failing task comes back, and the others are done")
def _a_failure_comes_back_and_stops_nothing(subject: Subject, folder: Path) -> None:
    found = {outcome.task: outcome for outcome in _outcomes(subject, _work, range(14))}
    failed = {task: str(outcome.error) for task, outcome in found.items() if outcome.error is not None}
    require(
        failed == {3: "task 3 fails", 10: "task 10 fails"}, f"of two failing tasks it gives the exceptions {failed}"
    )
    require(isinstance(found[3].error, ValueError), f"a ValueError comes back as {type(found[3].error).__name__}")
    done = sorted(outcome.value for outcome in found.values() if outcome.error is None)
    require(done == [10 * number for number in range(14) if number % 7 != 3], f"beside failing tasks it does {done}")


@check("executor", "tasks are taken as there is room for them")
def _tasks_are_taken_as_there_is_room(subject: Subject, folder: Path) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for _ in range(MANY):
            taken += 1
            yield 1

    outcomes = iter(subject.build().run(_work, tasks()))
    first = [outcome.value for outcome in islice(outcomes, 5)]
    if hasattr(outcomes, "close"):
        outcomes.close()
    require(first == [10] * 5, "its first outcomes are not those of its tasks")
    require(taken < MANY // 10, f"it takes {taken} of {MANY} tasks before it has given five outcomes")


@check("executor", "without tasks it ends at once")
def _nothing_to_do_ends_at_once(subject: Subject, folder: Path) -> None:
    require(_outcomes(subject, _work, []) == [], "it gives outcomes of no tasks")


@check("executor", "what the work makes ready is there for the next task")
def _what_is_made_ready_stays(subject: Subject, folder: Path) -> None:
    number = 200
    made = {outcome.value for outcome in _outcomes(subject, _Ready(), range(number))}
    require(len(made) < number / 2, f"what the work makes ready was made {len(made)} times for {number} tasks")


@check("executor", "when it is closed nothing is under way any more")
def _closed_nothing_is_under_way(subject: Subject, folder: Path) -> None:
    outcomes = iter(subject.build().run(_Lasting(folder), range(100)))
    next(outcomes)
    if hasattr(outcomes, "close"):
        outcomes.close()
    ended = len(list(folder.iterdir()))
    time.sleep(8 * LASTS)
    late = len(list(folder.iterdir())) - ended
    require(late == 0, f"{late} tasks ended after it was closed")


@check("executor", "a worker that dies is replaced, and its task done once more")
def _a_worker_that_dies_is_replaced(subject: Subject, folder: Path) -> None:
    first = next(iter(_outcomes(subject, _Deadly(folder), [0])))
    if first.value == os.getpid():
        raise NotApplicable("its workers are threads of this process")
    found = {outcome.task: outcome for outcome in _outcomes(subject, _Deadly(folder), range(1, 9))}
    require(sorted(found) == list(range(1, 9)), f"of eight tasks it gives outcomes of {sorted(found)}")
    lost = {task: outcome.error for task, outcome in found.items() if outcome.error is not None}
    require(list(lost) == [5], f"one task ends its worker each time, and those without a value are {sorted(lost)}")
    require(isinstance(lost[5], WorkerLost), f"that a worker died is told as {type(lost[5]).__name__}")
