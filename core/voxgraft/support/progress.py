"""What a command shows.

Under `--json`, standard output has one document and nothing else, whatever plugins print. Progress is a bar with the
time left on a terminal, plain lines elsewhere, always on standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from .texts import legible

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

T = TypeVar("T")

BAR = 10
"""Columns of a bar, so that description, numbers and time fit on a line of 80; twice as many where there is room."""
WIDE = 100
"""Columns of a terminal that has room."""


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
        self._above: RichProgress | None = None
        """The bar under way: lines appear above it."""
        self._part = ""
        self._warned: set[str] = set()

    def say(self, text: str) -> None:
        """One line for the user; a warning or note that was said before is not said again."""
        if self.quiet or self._is_repeated(text):
            return
        lines = "\n".join(map(legible, text.split("\n")))
        if self._above is not None:
            from rich.text import Text

            self._above.console.print(Text(lines))
            return
        print(fitted(lines, self.stream), file=self.stream, flush=True)

    def _is_repeated(self, text: str) -> bool:
        if not any(f": {severity}: " in text for severity in ("warning", "note")):
            return False
        repeated = text in self._warned
        self._warned.add(text)
        return repeated

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Let bars name the part of the whole that they belong to, such as the fold that is trained."""
        before, self._part = self._part, f"{name}: "
        try:
            yield
        finally:
            self._part = before

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
        return Bar(self, f"{self._part}{what}", total)


class Bar:
    """One piece of work under way.

    Work of several items begins at none; of work whose share is told (`total` is 1) the first share that is told
    counts as done before, since a resumed training does not begin at nothing.
    """

    def __init__(self, progress: Progress, what: str, total: float | None) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._whole, self._done, self._last = 0.0, 0.0, time.monotonic()
        self._first = None if total == 1 else (0.0, time.monotonic())
        """Where the work stood when it began, and when."""
        self._reached = time.monotonic()
        self._rich: RichProgress | None = None
        self._room = 0
        """Columns for the description."""

    def __enter__(self) -> Bar:
        if self._progress._terminal:
            self._rich = self._drawn()
            self._rich.start()
            self._rich.add_task(self._what, total=self._total)
            self._progress._above = self._rich
        return self

    def _drawn(self) -> RichProgress:
        """The bar of a terminal: what, how many of how many, percentage, and the time left."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
        from rich.text import Text

        class Left(ProgressColumn):
            def render(column, task: Task) -> Text:
                return Text(self._time_left(), "progress.remaining")

        class Count(ProgressColumn):
            def render(column, task: Task) -> Text:
                return Text(f"{int(task.completed)} of {self._total:.0f}")

        class Done(ProgressColumn):
            def render(column, task: Task) -> Text:
                return Text(f"{task.completed:.0f} done," if task.completed else "")

        console = Console(file=self._progress.stream)
        bar = BAR if console.width < WIDE else 2 * BAR
        columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(bar)]
        if not self._total:
            columns += [Done(), TimeElapsedColumn()]
        else:
            counted = [Count()] if self._total > 1 else []
            columns += [*counted, TextColumn("{task.percentage:>3.0f}%"), Left(), TextColumn("left")]
        numbers = 2 * len(f"{self._total or 0:.0f}") + len(" of 100% 00:00:00 left ") + len(columns)
        self._room = max(len(self._what), console.width - bar - numbers)
        return Progress(*columns, console=console)

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Move on; a note, such as the loss, is shown behind the description."""
        self.reach(self._whole + amount, note)

    def within(self, share: float, note: str = "") -> None:
        """Say what share of the item under way is done, from 0 to 1."""
        done = self._whole + min(share, 0.999)
        # The next item may begin before the last is counted: the bar does not go back.
        self._show(max(self._done, done), f"{note} {share:.0%}".strip())

    def reach(self, done: float, note: str = "") -> None:
        """Say how much is done in all."""
        self._whole = done
        self._show(done, note)

    def _show(self, done: float, note: str) -> None:
        now = time.monotonic()
        self._done, self._reached = done, now
        if self._first is None:
            self._first = done, now
        if self._rich is not None:
            from rich.markup import escape

            task = self._rich.task_ids[0]
            text = f"{self._what} {note}".rstrip()
            text = text if len(text) <= self._room else f"{text[: self._room - 1]}…"
            self._rich.update(task, completed=done, description=escape(text))
            return
        if not self._progress.quiet and now - self._last >= self._progress.every:
            self._last = now
            self._progress.say(f"{self._what}: {self._share()}{f', {note}' if note else ''}")

    def __exit__(self, *_: object) -> None:
        self._progress._above = None
        if self._rich is not None:
            self._rich.stop()

    def _seconds_left(self) -> float | None:
        """By what the work has taken so far; None before anything of it is done."""
        if not self._total or self._first is None:
            return None
        if self._done >= self._total:
            return 0.0
        if self._done <= self._first[0]:
            return None
        begun, since = self._first
        speed = (self._done - begun) / max(1e-6, self._reached - since)
        return max(0.0, (self._total - self._done) / speed - (time.monotonic() - self._reached))

    def _time_left(self) -> str:
        left = self._seconds_left()
        return "-:--:--" if left is None else str(timedelta(seconds=round(left)))

    def _share(self) -> str:
        if not self._total:
            return f"{int(self._done)} done"
        whole = f"{self._total:.0f}" if self._total >= 1000 else f"{self._total:.4g}"  # never 1e+04
        text = f"{self._done:.0%}" if self._total == 1 else f"{int(self._done)} of {whole}"
        left = self._seconds_left()
        return text if left is None else f"{text}, about {_rounded(left)} left"


def _rounded(seconds: float) -> str:
    """A time to wait, as a person would say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def fitted(text: str, stream: TextIO) -> str:
    """A text whose lines fit the width of a terminal, broken between words; elsewhere as it is.

    What goes on below stands under its beginning, or under the value where a label and a gap come first.
    """
    if not stream.isatty():
        return text
    import re
    import shutil
    import textwrap

    width, lines = shutil.get_terminal_size().columns, []
    for line in text.split("\n"):
        label = re.match(r"\s*(?:\S+(?: \S+)* {2,})?", line)
        under = " " * (label.end() if label and label.end() < width // 2 else 0)
        wrap = textwrap.TextWrapper(width, subsequent_indent=under, break_long_words=False, break_on_hyphens=False)
        lines += wrap.wrap(line) if len(line) > width and not line.startswith("|") else [line]
    return "\n".join(lines)


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


def print_fitted(text: str, colour: str | None = None, *, error: bool = False) -> None:
    """Print lines for a person, broken between words where the terminal is narrower.

    Args:
        text: One line or several.
        colour: A colour's name as click knows it.
        error: Print to standard error.
    """
    click.secho(fitted(text, sys.stderr if error else sys.stdout), fg=colour, err=error)
