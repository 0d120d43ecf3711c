"""The plugins that the project itself declares."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def declared_entries() -> list[EntryPoint]:
    """The entry points that pyproject.toml declares, whether or not it is installed."""
    groups = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]
    return [EntryPoint(name, value, group) for group, entries in groups.items() for name, value in entries.items()]
