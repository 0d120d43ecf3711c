"""Names and places of files: without those of this machine, and in one spelling of accents.

People type `ü` as one character on Windows and Linux (NFC); macOS writes it into file names as `u` with a mark (NFD).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

_PLACE = re.compile(r"(?P<scheme>(?:file:|sqlite:///)?)(?P<path>(?:/|~|[A-Za-z]:[\\/]).*)", re.DOTALL)


def without_paths(value: Any) -> Any:
    """The same plain values, with absolute paths as seen from the working directory, or else by their last name."""
    if isinstance(value, Mapping):
        return {key: without_paths(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(part) for part in value]
    if isinstance(value, str) and (match := _PLACE.fullmatch(value)):
        return match["scheme"] + _nearer(match["path"])
    return value


def _nearer(path: str) -> str:
    folder = Path.cwd()
    if Path(path).is_relative_to(folder):
        return Path(path).relative_to(folder).as_posix()
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def stem(path: Path) -> str:
    """The name of a file without its ending, `.gz` included; a folder's name is taken whole."""
    if path.is_dir():
        return path.name
    inner = path.stem if path.suffix.lower() == ".gz" else path.name
    return Path(inner).stem


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
