"""Who is to blame when an actor of the executor `ray` is lost; Ray itself is played, so that this runs without it."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from voxgraft_plugins.executors.ray import RayOptions, _Batch


class RayError(Exception): ...


class ActorUnavailableError(RayError): ...


class RayActorError(RayError): ...


@dataclass
class Actor:
    """Is lost at deadly tasks, as often as they say, and with it what else it owed, also what it has just done."""

    deadly: dict[int, int]
    ids: Any
    forgets: bool
    answers: dict[int, Any] = field(default_factory=dict)
    queue: list[tuple[int, int]] = field(default_factory=list)

    @property
    def do(self) -> Any:
        return SimpleNamespace(remote=self._given)

    @property
    def there(self) -> Any:
        return SimpleNamespace(remote=self._asked)

    def _asked(self) -> int:
        answer: int = next(self.ids)
        self.answers[answer] = None
        return answer

    def _given(self, data: bytes) -> int:
        answer: int = next(self.ids)
        self.queue.append((answer, pickle.loads(data)))
        return answer

    def works(self) -> None:
        """Do what was given, up to a task that ends this actor."""
        for answer, task in self.queue:
            if self.deadly.get(task, 0) > 0:
                self.deadly[task] -= 1
                self.answers |= dict.fromkeys(
                    (owed for owed, _ in self.queue if owed not in self.answers), RayActorError()
                )
                break
            self.answers[answer] = pickle.dumps((True, 10 * task))
        self.queue = []


@dataclass
class Played:
    """As much of the module `ray` as a batch asks for; answers are given in order, or the last one first."""

    actors: Sequence[Actor]
    backwards: bool = False

    @property
    def exceptions(self) -> Any:
        return SimpleNamespace(
            RayError=RayError, RayActorError=RayActorError, ActorUnavailableError=ActorUnavailableError
        )

    def is_initialized(self) -> bool:
        return True

    def wait(self, answers: Sequence[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        for actor in self.actors:
            actor.works()
        ready = [answer for answer in answers if any(answer in actor.answers for actor in self.actors)]
        return (ready[::-1] if self.backwards else ready)[:num_returns], []

    def get(self, answer: int) -> Any:
        value = next(actor.answers[answer] for actor in self.actors if answer in actor.answers)
        if isinstance(value, Exception):
            raise value
        return value


def outcomes(deadly: dict[int, int], number: int, *, backwards: bool, forgets: bool, tasks: int = 8) -> dict[int, Any]:
    ids = itertools.count()
    actors = [Actor(deadly, ids, forgets) for _ in range(number)]
    found = _Batch(Played(actors, backwards), actors, RayOptions()).run(1, iter(range(2, tasks + 1)))
    return {one.task: one for one in found}


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("deadly", "lost"),
    [
        ({5: 99, 3: 1}, [5]),  # 3 is given behind 5 and beside it: it was given up for what 5 did
        ({3: 99, 4: 1}, [3]),
        ({4: 1, 5: 1, 6: 1}, []),
        ({1: 99, 8: 99}, [1, 8]),
        ({2: 99, 3: 99, 4: 99, 5: 1, 6: 1}, [2, 3, 4]),  # what was done right before a loss was lost with it
        (dict.fromkeys(range(1, 9), 1), []),
    ],
)
def test_a_task_answers_for_its_own_losses_only(
    deadly: dict[int, int], lost: list[int], number: int, backwards: bool, forgets: bool
) -> None:
    found = outcomes(dict(deadly), number, backwards=backwards, forgets=forgets)
    assert sorted(found) == list(range(1, 9))
    assert [task for task, one in sorted(found.items()) if one.error is not None] == lost
    assert all(found[task].value == 10 * task for task in found if task not in lost)
