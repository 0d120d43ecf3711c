"""On a terminal a person sees that a command has begun, before anything heavy is imported; nobody else sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

NOTE = "voxgraft models: starting"
SLOW = "import sys, time; from voxgraft import cli; from voxgraft.packages import models\n"
SLOW += "models.Models.list = lambda self: time.sleep(1) or {}; cli.main(['models', 'list'])"


def test_the_note_is_there_at_once_and_gone_before_the_first_line(repo_path: dict[str, str], tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    main, side = pty.openpty()
    words = [sys.executable, "-c", SLOW]
    begun = time.monotonic()
    process = subprocess.Popen(words, stdout=side, stderr=side, env={**repo_path, "TERM": "xterm"}, cwd=tmp_path)
    os.close(side)
    text, first = b"", 0.0
    while True:
        try:
            piece = os.read(main, 4096)
        except OSError:  # the other side is closed
            break
        first = first or time.monotonic() - begun
        text += piece
    assert process.wait(60) == 0
    assert text.decode().startswith(f"{NOTE}\r\x1b[2Kno model is registered here yet")
    assert time.monotonic() - begun - first > 0.9  # it stood there while the command was still at work


def test_pipes_and_files_get_no_note(repo_path: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, env=repo_path, cwd=tmp_path)
    assert done.stdout == "" and done.stderr == "no model is registered here yet\n"
