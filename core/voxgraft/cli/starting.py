"""A sign of life on a terminal, from the call of a command until it writes its first line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_ERASE = "\r\x1b[2K"


class _Note:
    """A line that goes away before anything else is written."""

    def __init__(self, text: str, terminal: TextIO) -> None:
        self._terminal, self._shown = terminal, True
        terminal.write(text)
        terminal.flush()

    def erase(self) -> None:
        if self._shown:
            self._shown = False
            self._terminal.write(_ERASE)
            self._terminal.flush()


class _Watched:
    """A stream that erases the note before the first text."""

    def __init__(self, stream: TextIO, note: _Note) -> None:
        self._stream, self._note = stream, note

    def write(self, text: str) -> int:
        self._note.erase()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def sign_of_life(command: str) -> Iterator[None]:
    """Show that a command has begun: loading what it needs may take seconds, in which nothing else would be seen."""
    terminal, output = sys.stderr, sys.stdout
    if not terminal.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    note = _Note(f"voxgraft {command}: starting", terminal)
    sys.stderr, sys.stdout = _Watched(terminal, note), _Watched(output, note)
    try:
        yield
    finally:
        note.erase()
        sys.stderr, sys.stdout = terminal, output
