"""Archives and packed files: no reader looks into them, so whoever looks at a folder names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .volume import Problem

_ENDINGS = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".z", ".lzma", ".iso")
_TEXT = (".json", ".txt", ".csv", ".tsv", ".log", ".xml", ".svg", ".html", ".bval", ".bvec")
"""Endings of files that hold no scans when they are packed either."""


def is_archive(file: Path) -> bool:
    """Whether a file is an archive or a packed file by its name."""
    name = file.name.lower()
    return name.endswith(_ENDINGS) and not name.rpartition(".")[0].endswith(_TEXT)


def archive_problems(archives: Sequence[Path]) -> tuple[Problem, ...]:
    """What to say of archives; nothing where there are none."""
    if not archives:
        return ()
    names = ", ".join(file.name for file in archives[:3]) + (", ..." if len(archives) > 3 else "")
    what = "an archive or packed file was" if len(archives) == 1 else f"{len(archives)} archives or packed files were"
    return (Problem("archive", f"{what} not opened ({names}); unpack those that contain scans", "warning"),)
