"""Archives, packed files and closed folders: nobody looks into them, so whoever looks at a folder names them."""

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


def unopened_problems(paths: Sequence[Path]) -> tuple[Problem, ...]:
    """What to say of archives and of folders that may not be opened; nothing where there are none."""
    archives = [path for path in paths if is_archive(path)]
    closed = [path for path in paths if not is_archive(path)]
    problems = []
    if archives:
        many = f"{len(archives)} archives or packed files were"
        what = "an archive or packed file was" if len(archives) == 1 else many
        text = f"{what} not opened ({_listed(archives)}); unpack what holds scans"
        problems.append(Problem("archive", text, "warning"))
    if closed:
        what = "a folder" if len(closed) == 1 else f"{len(closed)} folders"
        text = f"{what} cannot be opened ({_listed(closed)}), so what lies there is missing; ask for the right to read"
        problems.append(Problem("closed-folder", text, "warning"))
    return tuple(problems)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
