"""Names of cases: what a file is called without its ending, made safe as a folder's name and unique; and messages."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import DataError
from .texts import as_stored, composed, stem

LONGEST = 80
SIDECARS = frozenset({
    ".json", ".txt", ".csv", ".tsv", ".md", ".xml", ".yaml", ".yml", ".pdf", ".html", ".htm", ".log", ".db", ".ini",
    ".bval", ".bvec", ".py", ".sh", ".zip", ".tar", ".xlsx", ".docx", ".exe", ".inf", ".dll", ".css", ".js", ".ico",
    ".sqlite",
})  # fmt: skip
"""Endings of files that lie beside images and are none; discs from a PACS bring a viewer along."""
_DATA_OF = {".img": (".hdr",), ".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",)}
"""Endings of files that hold only voxels, and of the header files by which they are read."""


def images_in(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The images in a folder by their stems, and what else lies there; hidden files are skipped.

    A folder in it counts as an image (a DICOM series).

    Raises:
        DataError: There is no such folder, or two images have one stem.
    """
    folder = as_stored(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    images: dict[str, Path] = {}
    others: list[Path] = []
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    names = {entry.name.lower() for entry in entries}
    for entry in entries:
        headers = _DATA_OF.get(entry.suffix.lower(), ())
        if entry.suffix.lower() in SIDECARS and not entry.is_dir():
            others.append(entry)
        elif not any(entry.with_suffix(header).name.lower() in names for header in headers):
            other = images.setdefault(composed(stem(entry)), entry)
            if other is not entry:
                raise DataError(f"{folder}: {other.name} and {entry.name} have the same name; keep one of them")
    return images, others


def fingerprint(text: str) -> str:
    """Of a text, which says nothing of it; whoever knows the text can find it again."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _short(text: str) -> str:
    return fingerprint(text)[:10]


def safe_ids(names: Iterable[str], short: Callable[[str], str] = _short) -> dict[str, str]:
    """For each of these different names an id that is safe as a folder's name, on every file system, and unique.

    Args:
        short: A short fingerprint of a name.
    """
    plain = {name: re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:LONGEST] for name in names}
    often = Counter(text.casefold() for text in plain.values())
    return {
        name: text if text and often[text.casefold()] == 1 else f"{text or 'case'}-{short(name)}"
        for name, text in plain.items()
    }


def listed(names: Sequence[str], what: str) -> str:
    """How many there are and what the first are called, for a message: `3 cases (a, b, c)`."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{what} {shown}" if len(names) == 1 else f"{count(len(names), what)} ({shown})"


def count(number: int, what: str) -> str:
    """`1 study`, `2 studies`, `3 series`."""
    plural = what if what.endswith("series") else f"{what[:-1]}ies" if what.endswith("dy") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"
