"""Names of cases: what a file is called without its ending, made safe as a folder's name and unique."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from voxgraft.plugin import DataError, as_stored, composed, stem

from .patterns import Pattern

LONGEST = 80
SIDECARS = frozenset(
    (".json", ".txt", ".csv", ".tsv", ".md", ".xml", ".yaml", ".yml", ".pdf", ".html", ".log", ".db", ".ini")
) | {".bval", ".bvec", ".py", ".sh", ".zip", ".tar", ".xlsx", ".docx"}
"""Endings of files that lie beside images and are none."""

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


def safe_ids(names: Iterable[str]) -> dict[str, str]:
    """For each of these different names an id that is safe as a folder's name, on every file system, and unique."""
    plain = {name: re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:LONGEST] for name in names}
    often = Counter(text.casefold() for text in plain.values())
    return {
        name: text if text and often[text.casefold()] == 1 else f"{text or 'case'}-{short_hash(name)}"
        for name, text in plain.items()
    }


def short_hash(text: str) -> str:
    """A fingerprint of a text that says nothing of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:10]


def patients(names: Sequence[str], pattern: str | None, fields: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The patient of each case: the place {patient} of its file pattern or of `pattern`; else the case itself.

    Args:
        fields: For each case what its file pattern found.

    Raises:
        DataError: A name does not fit the pattern.
    """
    if pattern is None:
        return {name: fields.get(name, {}).get("patient", name) for name in names}
    if "patient" not in Pattern(pattern).places:
        raise DataError(f"the pattern {pattern!r} of the option 'patient' needs {{patient}}")
    matches = {name: Pattern(pattern).match(name) for name in names}
    strange = [name for name, match in matches.items() if match is None]
    if strange:
        raise DataError(f"{listed(strange, 'case')}: the name does not fit the pattern {pattern!r} of 'patient'")
    return {name: match["patient"] for name, match in matches.items() if match is not None}


def listed(names: Sequence[str], what: str) -> str:
    """How many there are and what the first are called, for a message: `3 cases (a, b, c)`."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{what} {shown}" if len(names) == 1 else f"{len(names)} {what}s ({shown})"
