"""Files beside those of a series that nobody would look at: cut before the mark that makes them DICOM.

The engine hands over files by their endings or by the mark at byte 128. A slice without an ending that is cut before
that mark, or was written without it, would be left out in silence, and the series read without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .elements import MAGIC, PREAMBLE

_RUN = re.compile(r"[0-9a-fA-F]+")
_RUNS = re.compile(r"#(?:[._-]#)+")


def unclaimed(files: Sequence[Path]) -> Iterator[Path]:
    """Files without the mark of DICOM whose names are built like those of the given files beside them."""
    known = set(files)
    if len(known) < 2:  # one file was asked for by its name
        return
    folders: dict[Path, set[str]] = {}
    for file in files:
        if file.suffix.lower() not in ENDINGS:
            folders.setdefault(file.parent, set()).add(_pattern(file.name))
    for folder, patterns in folders.items():
        for name in sorted(_names(folder)):
            file = folder / name
            if file not in known and _pattern(name) in patterns and _is_unmarked(file):
                yield file


ENDINGS = (".dcm", ".dicom", ".ima")
"""Files that are handed over whatever is in them."""


def _pattern(name: str) -> str:
    """A name with its numbers left out: `IM-0001-0003` and `IM-0002-0017` are built alike, as are two UIDs."""
    return _RUNS.sub("#", _RUN.sub("#", name))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names of thousands of files, of which few become paths
    except OSError:
        return []


def _is_unmarked(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(PREAMBLE + len(MAGIC))[PREAMBLE:] != MAGIC
    except OSError:  # a link whose file is not there, or a file that may not be read
        return not file.is_dir()
