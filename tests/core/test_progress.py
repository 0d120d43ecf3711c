"""Progress: plain lines where there is no terminal, with an honest time left, and nothing on standard output."""

from __future__ import annotations

import io
import re

import pytest

from voxgraft.support import progress as module
from voxgraft.support.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def test_lines_come_now_and_then_with_the_time_left(clock) -> None:
    stream = io.StringIO()
    for _ in Progress(stream=stream, every=10).track(range(10), "reading"):
        clock.now += 4
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    done, left = map(int, re.findall(r"reading: (\d+) of 10, about (\d+) s left", lines[-1])[0])
    assert left == 4 * (10 - done)


def test_resumed_work_is_timed_from_where_it_went_on(clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream, every=10).bar("training", 1.0) as bar:
        bar.reach(0.5)
        clock.now += 20
        bar.reach(0.6, "loss 0.2")
    assert stream.getvalue() == "training: 60%, about 80 s left, loss 0.2\n"


def test_quiet_says_nothing_and_work_without_an_end_is_counted(clock, capsys) -> None:
    stream = io.StringIO()
    quiet = Progress(stream=stream, quiet=True)
    quiet.say("hello")
    assert list(quiet.track(iter([1, 2]), "reading")) == [1, 2] and stream.getvalue() == ""
    with Progress(stream=stream, every=0).bar("looking", None) as bar:
        bar.advance(3)
    assert stream.getvalue() == "looking: 3 done\n"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [80, 160])
def test_a_bar_tells_number_share_and_time_within_the_width(width, monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    with Progress(stream=screen).bar("segmenting", 12000) as bar:
        bar.reach(3000, "[bold] " + "and a long name " * 12)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= width
    assert re.search(r"segmenting \[bold\] a.*… .* 3000 of 12000  25% \S+ left", "\n".join(lines))
