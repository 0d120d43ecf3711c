"""Tests of the conformance checks of executors and commands: faults are caught."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pytest

from conformance_faults import caught, subject_of
from voxgraft.batch.task import Outcome
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import WorkerLost
from voxgraft.testing import Subject, run_checks
from voxgraft_plugins.executors.processes import Processes


class Serial:
    """An executor without a fault, for those that have one."""

    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        for task in tasks:
            try:
                yield Outcome(task, work(task))
            except Exception as error:
                yield Outcome(task, error=error)


class Twice(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        for outcome in super().run(work, tasks):
            yield from (outcome, outcome)


class Loses(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from islice(super().run(work, tasks), 1, None)


class StopsAtOnce(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from (Outcome(task, work(task)) for task in tasks)


class Swallows(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from (Outcome(outcome.task, outcome.value) for outcome in super().run(work, tasks))


class Mistakes(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        whole = list(super().run(work, tasks))
        yield from (replace(one, value=other.value) for one, other in zip(whole, reversed(whole), strict=True))


class Greedy(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from super().run(work, list(tasks))


class Restless(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from super().run(work, tasks)
        yield Outcome(None)


class MakesAnew(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        for task in tasks:
            yield from super().run(pickle.loads(pickle.dumps(work)), [task])


class LeavesBehind(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        pool, left = ThreadPoolExecutor(4), iter(tasks)
        while several := list(islice(left, 4)):
            for task, future in [(task, pool.submit(work, task)) for task in several]:
                error = future.exception()
                yield Outcome(task, None if error else future.result(), error)


class Untold(Processes):
    """Loses the tasks whose worker died."""

    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from (one for one in super().run(work, tasks) if not isinstance(one.error, WorkerLost))


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (Twice, "done once"),
        (Loses, "done once"),
        (Mistakes, "done once"),
        (StopsAtOnce, "the others are done"),
        (Swallows, "the exception of a failing task"),
        (Greedy, "room for them"),
        (Restless, "without tasks"),
        (MakesAnew, "makes ready"),
        (LeavesBehind, "nothing is under way"),
    ],
)
def test_a_faulty_executor_is_caught(catalogue: Catalogue, tmp_path: Path, fault: type[Serial], check: str) -> None:
    caught(subject_of("executor", "threads", catalogue, tmp_path), lambda options: fault(), tmp_path / "checks", check)


def test_an_executor_that_hides_the_death_of_a_worker_is_caught(catalogue: Catalogue, tmp_path: Path) -> None:
    subject = subject_of("executor", "processes", catalogue, tmp_path)
    caught(subject, Untold, tmp_path / "checks", "a worker that dies")


def _other_name(options: Any) -> click.Command:
    return click.Command("another", callback=lambda: None)


def _no_help(options: Any) -> click.Command:
    return click.Command("deidentify", params=[click.Option(["--out"])], callback=lambda **given: None)


def _takes_anything(options: Any) -> click.Command:
    rest = click.Argument(["rest"], nargs=-1)
    settings = {"ignore_unknown_options": True}
    return click.Command("deidentify", callback=lambda rest: None, params=[rest], context_settings=settings)


@pytest.mark.parametrize(
    ("build", "check"),
    [
        (_other_name, "of the name"),
        (_no_help, "each of its options"),
        (_takes_anything, "unknown option is refused"),
    ],
)
def test_a_faulty_command_is_caught(catalogue: Catalogue, tmp_path: Path, build: Any, check: str) -> None:
    caught(subject_of("command", "deidentify", catalogue, tmp_path), build, tmp_path / "checks", check)


def test_a_command_whose_help_imports_torch_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "from voxgraft.plugin import CommandSpec, hookimpl",
        "def build(options):",
        "    import click, torch",
        "    return click.Command('heavy', callback=print)",
        "@hookimpl",
        "def voxgraft_commands():",
        "    return [CommandSpec(name='heavy', summary='Heavy', build=build)]",
    ]
    (tmp_path / "face_heavy.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    catalogue = discover([EntryPoint("heavy", "face_heavy", "voxgraft")])
    outcomes = run_checks(Subject.of("command", "heavy", catalogue=catalogue), tmp_path / "checks")
    failed = [one for one in outcomes if one.state == "failed"]
    assert [one.check for one in failed] == ["its help imports nothing heavy"] and "torch" in failed[0].reason
