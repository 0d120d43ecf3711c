"""Names of cases and patients that give nobody away, and texts for messages."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from voxgraft.plugin import DataError, composed, stem

LONGEST = 80
SIDECARS = frozenset(
    (".json", ".txt", ".csv", ".tsv", ".md", ".xml", ".yaml", ".yml", ".pdf", ".html", ".htm", ".log", ".db", ".ini")
) | {".bval", ".bvec", ".zip", ".tar", ".xlsx", ".docx", ".exe", ".inf", ".dll", ".css", ".js", ".ico", ".sqlite"}
"""Endings of files that lie beside images and are none; discs from a PACS bring a viewer along."""
VOXELS_ONLY = {".img": (".hdr",), ".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",)}
"""Endings of files that hold only voxels, and of the header files by which they are read."""


def mark(text: str) -> str:
    """A fingerprint that stands for a text; whoever knows the text can find it again."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Naming:
    """Short names from fingerprints, keyed where there is a key.

    Raises:
        DataError: The file of the key cannot be read, or is too short to keep a secret.
    """

    def __init__(self, key: Path | None) -> None:
        self._key: bytes | None = None
        if key is not None:
            try:
                self._key = key.read_bytes().strip()
            except OSError as error:
                raise DataError(f"{key}: the key cannot be read: {error.strerror or error}") from error
            if len(self._key) < 16:
                raise DataError(f"{key}: the key has {len(self._key)} bytes; it needs at least 16")

    def of_mark(self, mark: str) -> str:
        """Ten letters for a fingerprint."""
        if self._key is None:
            return mark[:10]
        return hmac.new(self._key, mark.encode(), hashlib.sha256).hexdigest()[:10]

    def of(self, text: str) -> str:
        """Ten letters for a text."""
        return self.of_mark(mark(text))

    def safe_ids(self, names: Iterable[str]) -> dict[str, str]:
        """For each of these different names an id that is safe as a folder's name, on every file system, and unique."""
        plain = {name: re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:LONGEST] for name in names}
        often = Counter(text.casefold() for text in plain.values())
        return {
            name: text if text and often[text.casefold()] == 1 else f"{text or 'case'}-{self.of(name)}"
            for name, text in plain.items()
        }


def masks_in(folder: Path) -> dict[str, Path]:
    """The masks in a folder by their names without ending; hidden files and sidecars are skipped.

    Raises:
        DataError: There is no such folder, or two masks have one name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    names = {entry.name.lower() for entry in entries}
    masks: dict[str, Path] = {}
    for entry in entries:
        headers = VOXELS_ONLY.get(entry.suffix.lower(), ())
        if any(entry.with_suffix(header).name.lower() in names for header in headers):
            continue
        if entry.is_dir() or entry.suffix.lower() not in SIDECARS:
            other = masks.setdefault(composed(stem(entry)), entry)
            if other is not entry:
                raise DataError(f"{folder}: {other.name} and {entry.name} have the same name; keep one of them")
    return masks


def listed(names: Sequence[str], what: str) -> str:
    """How many there are and what the first are called, for a message: `3 cases (a, b, c)`."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{what} {shown}" if len(names) == 1 else f"{count(len(names), what)} ({shown})"


def count(number: int, what: str) -> str:
    """`1 study`, `2 studies`, `3 series`."""
    plural = what if what.endswith("series") else f"{what[:-1]}ies" if what.endswith("dy") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"
