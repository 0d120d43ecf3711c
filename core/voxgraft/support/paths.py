"""Plain values without the places of this machine: a path tells the names of users, and sometimes those of patients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
