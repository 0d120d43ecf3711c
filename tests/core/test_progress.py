"""Progress: plain lines where there is no terminal, with an honest time left, and nothing on standard output."""

from __future__ import annotations

import io
import re

import pytest

from voxgraft.support import progress as module
from voxgraft.support.progress import Progress, fitted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    with Progress(stream=screen).bar("segmenting", 12000) as bar:
        bar.reach(3000, "[bold] " + "and a long name " * 12)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= width
    assert re.search(r"segmenting \[bold\] a.*… .* 3000 of 12000  25% \S+ left", "\n".join(lines))


@pytest.mark.parametrize(("cases", "left"), [(20, "57 s"), (10000, "8.3 h")])
def test_the_time_left_is_known_from_the_first_item_on(cases, left, clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream, every=0).bar("segmenting", cases) as bar:
        clock.now += 3
        bar.advance(note="case_1")
    assert stream.getvalue() == f"segmenting: 1 of {cases}, about {left} left, case_1\n"


def test_progress_within_an_item_moves_the_bar_and_its_time(clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream, every=0).bar("segmenting", 4) as bar:
        clock.now += 30  # the first window of several
        bar.within(0.25, "case_1")
        clock.now += 90
        bar.advance(note="case_1")
    first, second = stream.getvalue().splitlines()
    assert first == "segmenting: 0 of 4, about 8 min left, case_1 25%"
    assert second == "segmenting: 1 of 4, about 6 min left, case_1"


def test_a_bar_names_its_part_and_a_warning_is_said_once() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream, every=0)
    for fold in ("fold 0, 1 of 2", "fold 1, 2 of 2"):
        with progress.part(fold):
            progress.say("check: warning: 2 cases are copies of others")
            progress.say("check: done in 1.0 s")
            progress.bar("training", None).advance()
    text = stream.getvalue()
    assert text.count("copies") == 1 and text.count("done in") == 2
    assert "fold 0, 1 of 2: training" in text and "fold 1, 2 of 2: training" in text


def test_lines_said_under_a_bar_stay_and_fit(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    progress = Progress(stream=screen)
    with progress.bar("segmenting", 2) as bar:
        bar.advance()
        progress.say("failed: case_7: the file ends before its voxels do")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    assert "failed: case_7: the file ends before its" in [line.rstrip() for line in lines]
    assert max(map(len, lines)) <= 40


def test_long_lines_are_broken_between_words_on_a_terminal_only(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = "warnings  structures reach the edge of the scan\n| a table of a model card stays as it is |"
    assert fitted(text, io.StringIO()) == text
    broken = fitted(text, Terminal()).splitlines()
    assert broken[0] == "warnings  structures reach the" and broken[1] == "          edge of the scan"
    assert broken[2].startswith("| a table")


def test_a_batch_says_few_of_many_that_are_left_out_and_shows_progress_within_a_scan(tmp_path, catalogue) -> None:
    from batch_scans import model

    from voxgraft.batch.dispatch import Corrections
    from voxgraft.batch.entry import Entry
    from voxgraft.batch.ledger import Ledger
    from voxgraft.batch.queue import BatchQueue

    stream = io.StringIO()
    with Ledger(tmp_path) as ledger:
        corrections = Corrections(tmp_path, ledger, ())
        package = model(tmp_path / "model")
        queue = BatchQueue(
            corrections, package, lambda _: "", False, False, Progress(stream=stream, every=0), lambda last: None
        )
        why = {"state": "left-out", "reason": "localizer"}
        away = [Entry((), tmp_path / f"{n}", f"{n}", case=f"scan_{n}", **why) for n in range(40)]
        queue.sort(away)
        queue.within(0.5)  # nothing is under way
    said = stream.getvalue().splitlines()
    assert said[:5] == [f"left out: scan_{n}: localizer" for n in range(5)]
    assert said[5:] == ["left out: 35 more; the report names each with its reason"]
