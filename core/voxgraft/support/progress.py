"""What a command shows.

Under `--json`, standard output has one document and nothing else, whatever plugins print. Progress is a bar with the
time left on a terminal, plain lines elsewhere, always on standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from .texts import legible

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

T = TypeVar("T")

BAR = 20
"""Columns of a bar, so that description, numbers and time fit on a line of 80."""
DAY = 24 * 3600.0
"""Seconds of work that the time left is estimated from."""


class Progress:
    """Shows how far long work has got.

    Args:
        quiet: Show nothing.
        every: Seconds between two plain lines where there is no terminal.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None, every: float = 15.0) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.every = every
        self._terminal = not quiet and self.stream.isatty()

    def say(self, text: str) -> None:
        """One line for the user."""
        if not self.quiet:
            print("\n".join(map(legible, text.split("\n"))), file=self.stream, flush=True)

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Go through items, showing how many are done and how long the rest will take.

        Args:
            items: What is gone through.
            what: Stands before the bar.
            total: Their number, where `items` cannot tell it.
        """
        total = total if total is not None else len(items) if isinstance(items, Sized) else None
        with self.bar(what, total) as bar:
            for item in items:
                yield item
                bar.advance()

    def bar(self, what: str, total: float | None) -> Bar:
        """A bar that the caller moves on; use it in a `with` block."""
        return Bar(self, what, total)


class Bar:
    """One piece of work under way."""

    def __init__(self, progress: Progress, what: str, total: float | None) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._done, self._last = 0.0, time.monotonic()
        self._first: tuple[float, float] | None = None
        """Where the work stood when it was first told, and when: resumed work does not begin at nothing."""
        self._rich: RichProgress | None = None
        self._room = 0
        """Columns for the description."""

    def __enter__(self) -> Bar:
        if self._progress._terminal:
            self._rich = self._drawn()
            self._rich.start()
            self._rich.add_task(self._what, total=self._total)
        return self

    def _drawn(self) -> RichProgress:
        """The bar of a terminal: what, how many of how many, percentage, and the time left."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(file=self._progress.stream)
        columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(BAR)]
        if not self._total:
            columns += [TextColumn("{task.completed:.0f} done,"), TimeElapsedColumn()]
        else:
            counted = [TextColumn("{task.completed:.0f} of {task.total:.0f}")] if self._total > 1 else []
            columns += [*counted, TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn(), TextColumn("left")]
        numbers = 2 * len(f"{self._total or 0:.0f}") + len(" of 100% 00:00:00 left ") + len(columns)
        self._room = max(len(self._what), console.width - BAR - numbers)
        # One piece of the work may take minutes: its time counts until the next has ended.
        return Progress(*columns, console=console, speed_estimate_period=DAY)

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Move on; a note, such as the loss, is shown behind the description."""
        self.reach(self._done + amount, note)

    def reach(self, done: float, note: str = "") -> None:
        """Say how much is done in all."""
        self._done = done
        if self._first is None:
            self._first = done, time.monotonic()
        if self._rich is not None:
            from rich.markup import escape

            task = self._rich.task_ids[0]
            text = f"{self._what} {note}".rstrip()
            text = text if len(text) <= self._room else f"{text[: self._room - 1]}…"
            self._rich.update(task, completed=done, description=escape(text))
            return
        now = time.monotonic()
        if not self._progress.quiet and now - self._last >= self._progress.every:
            self._last = now
            self._progress.say(f"{self._what}: {self._share()}{f', {note}' if note else ''}")

    def __exit__(self, *_: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    def _share(self) -> str:
        if not self._total:
            return f"{self._done:g} done"
        begun, since = self._first or (0.0, time.monotonic())
        text = f"{self._done:.0%}" if self._total == 1 else f"{self._done:.4g} of {self._total:.4g}"
        if self._done <= begun:
            return text
        left = (time.monotonic() - since) * (self._total - self._done) / (self._done - begun)
        return f"{text}, about {left:.0f} s left"


_OUTPUT = "voxgraft.output"


@contextmanager
def kept_for_json(ctx: click.Context, args: Sequence[str]) -> Iterator[None]:
    """Where `--json` is among the arguments, print goes to standard error, and `print_result` to standard output."""
    if "--json" not in args:
        yield
        return
    ctx.meta[_OUTPUT] = sys.stdout
    with redirect_stdout(sys.stderr):
        yield


def print_result(text: str) -> None:
    """Print what a command was asked for."""
    click.echo(text, file=click.get_current_context().meta.get(_OUTPUT))
