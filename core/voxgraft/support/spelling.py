"""One spelling of names whose accents are encoded in two ways: `ü` as one character (NFC), as people type it on Windows
and Linux, or as `u` and a mark (NFD), as macOS writes it into file names."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def composed(name: str) -> str:
    """A name in the one form in which names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def as_stored(path: Path) -> Path:
    """The path of what is there under this name, however its accents are encoded; the same path where nothing is."""
    if str(path).isascii() or path.exists():
        return path
    folder = as_stored(path.parent) if path.parent != path else path
    try:
        return next((entry for entry in folder.iterdir() if composed(entry.name) == composed(path.name)), path)
    except OSError:
        return path


StoredPath = Annotated[Path, AfterValidator(as_stored)]
"""A path in options, as what is there is called."""
