"""Conformance checks of executors: every task once, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .conformance import ConformanceCheck, Subject, require

MANY = 10_000
"""Tasks of a batch that is not worked off: far more than any executor has under way."""


def _work(number: int) -> int:
    """What is done with a task; it stands here so that other processes can import it."""
    if number % 7 == 3:
        raise ValueError(f"task {number} fails")
    return 10 * number


def _every_task_is_done_once(subject: Subject, folder: Path) -> None:
    good = [number for number in range(30) if number % 7 != 3]
    outcomes = list(subject.build().run(_work, good))
    require(sorted(outcomes) == [10 * number for number in good], f"of {len(good)} tasks it gives {outcomes}")


def _a_failure_comes_back_and_stops_nothing(subject: Subject, folder: Path) -> None:
    outcomes = list(subject.build().run(_work, range(14)))
    failed = sorted(str(one) for one in outcomes if isinstance(one, Exception))
    require(failed == ["task 10 fails", "task 3 fails"], f"of two failing tasks it gives the exceptions {failed}")
    done = sorted(one for one in outcomes if not isinstance(one, Exception))
    require(done == [10 * number for number in range(14) if number % 7 != 3], f"beside failing tasks it does {done}")


def _tasks_are_taken_as_there_is_room(subject: Subject, folder: Path) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for _ in range(MANY):
            taken += 1
            yield 1

    outcomes = iter(subject.build().run(_work, tasks()))
    require(list(islice(outcomes, 5)) == [10] * 5, "its first outcomes are not those of its tasks")
    require(taken < MANY, f"it takes all of {MANY} tasks before it gives the first outcome")


def _nothing_to_do_ends_at_once(subject: Subject, folder: Path) -> None:
    require(list(subject.build().run(_work, [])) == [], "it gives outcomes of no tasks")


CHECKS = {
    "executor": [
        ConformanceCheck("every task is done once, in any order", _every_task_is_done_once),
        ConformanceCheck(
            "the exception of a failing task comes back, and the others are done",
            _a_failure_comes_back_and_stops_nothing,
        ),
        ConformanceCheck("tasks are taken as there is room for them", _tasks_are_taken_as_there_is_room),
        ConformanceCheck("without tasks it ends at once", _nothing_to_do_ends_at_once),
    ]
}
