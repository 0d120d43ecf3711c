"""On a real terminal of 80 columns: progress with number, share and time, no wider line, and what to do next."""

from __future__ import annotations

import errno
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "core"))
from datasets import boxes, workflow

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

COLUMNS = 80
MARKS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Seen(NamedTuple):
    """What a person at a terminal saw: each state of each line, and after how many seconds something was there."""

    status: int
    lines: list[str]
    first: float

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def widest(self) -> str:
        return max(self.lines, key=len)


def at_terminal(words: list[str], folder: Path, environment: dict[str, str]) -> Seen:
    """Run a command whose three streams are a terminal."""
    import fcntl
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    plain = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    begun, first, pieces = time.monotonic(), 0.0, []
    with subprocess.Popen(
        words, cwd=folder, env={**plain, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        while piece := _read(master):
            first = first or time.monotonic() - begun
            pieces.append(piece)
    os.close(master)
    text = MARKS.sub("", b"".join(pieces).decode()).replace("\r", "\n")
    return Seen(process.returncode, [line.rstrip() for line in text.split("\n") if line.strip()], first)


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # what Linux says when the other side is closed
            raise
        return b""


@pytest.fixture(scope="module")
def trained(repo_path, warm_python, tmp_path_factory) -> tuple[Path, Seen]:
    """A folder where two folds were trained at a terminal, and what was seen."""
    folder = tmp_path_factory.mktemp("terminal")
    data = boxes(folder / "data", cases=4, shape=(40, 18, 16))
    folds = {"folds: 3, fold: 0": "folds: 2, fold: all", "12 steps": "2 steps"}
    file = workflow(folder, data, steps="[check, plan, prepare, train]", **folds)
    file.write_text(re.sub("tracking: .*\n", "tracking: null\n", file.read_text()))
    return folder, at_terminal([*warm_python, "-m", "voxgraft", "run", file.name], folder, repo_path)


def test_a_run_names_its_fold_and_ends_with_what_to_do_next(trained) -> None:
    _, seen = trained
    assert seen.status == 0 and len(seen.widest) <= COLUMNS, seen.widest
    for fold in ("fold 0, 1 of 2", "fold 1, 2 of 2"):
        assert any(line.startswith(f"{fold}: training") and line.endswith("left") for line in seen.lines), seen.text
    assert re.search(r"\d of \d +\d+% \S+ left", seen.text) and "%" in seen.text
    assert re.fullmatch(r"next: voxgraft segment \S+ SCANS --out BATCH", seen.lines[-1])


def test_a_batch_shows_how_far_it_is_within_a_scan_too(trained, repo_path, warm_python) -> None:
    folder, _ = trained
    package = next(folder.glob("runs/**/package"))
    words = ["segment", str(package.relative_to(folder)), "data/imagesTr", "--out", "batch"]
    seen = at_terminal([*warm_python, "-m", "voxgraft", *words], folder, repo_path)
    assert seen.status == 0 and len(seen.widest) <= COLUMNS, seen.widest
    assert re.search(r"segmenting .*[1-3] of 4 +\d+% \S+ left", seen.text)
    assert re.search(r"segmenting this scan \d+% .* 0 of 4 ", seen.text), seen.text
    assert seen.lines[-1] == "next: voxgraft review batch"


def test_warnings_of_one_kind_are_one_line(repo_path, warm_python, tmp_path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(9):
        Image.new("L", (30, 30), number * 20).save(tmp_path / f"pictures/a-rather-long-name-{number}.png")
    seen = at_terminal([*warm_python, "-m", "voxgraft", "check", "pictures"], tmp_path, repo_path)
    assert seen.text.count("no-spacing") == 1 and "9 cases" in seen.text
    assert len(seen.widest) <= COLUMNS, seen.widest


@pytest.mark.parametrize(
    "words",
    [
        ["plugins", "list"],
        ["doctor"],
        ["new", "--list"],
        ["inspect", "data/imagesTr"],
        ["check", "data"],
        ["deidentify", "data", "clean"],
        ["segment", "--help"],
        ["run", "nowhere-to-be-found/in-a-folder-with-a-long-name/workflow.yaml"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_no_line_is_wider_than_the_terminal(words: list[str], trained, repo_path, warm_python) -> None:
    seen = at_terminal([*warm_python, "-m", "voxgraft", *words], trained[0], repo_path)
    assert seen.lines and len(seen.widest) <= COLUMNS, seen.widest


def test_something_is_seen_at_once(trained, repo_path) -> None:
    words = ["segment", "nowhere", "data/imagesTr", "--out", "none"]
    firsts = [at_terminal([sys.executable, "-m", "voxgraft", *words], trained[0], repo_path).first for _ in range(2)]
    assert min(firsts) < 2.0, "half a second on an idle machine; this one may be busy"
