"""A workflow as MLflow's parameters: flat, short, and without places on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LONGEST_KEY = 250
LONGEST_VALUE = 500
"""What every version of MLflow takes."""

_PLACE = re.compile(r"(?P<scheme>(?:file:|sqlite:///)?)(?P<path>(?:/|~|[A-Za-z]:[\\/]).*)", re.DOTALL)


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested plain values under dotted keys, as text of a length that MLflow takes; what is None is left out."""
    return {
        key_of(key)[:LONGEST_KEY]: text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
        for key, text in _walk(values, "")
    }


def key_of(name: str) -> str:
    """A name of the letters that MLflow takes in keys."""
    return re.sub(r"[^\w\-. /:]", "_", name)


def without_places(value: Any) -> Any:
    """The same plain values, with absolute paths as seen from the working directory, or by their last name.

    A path tells the names of users, and sometimes those of patients.
    """
    if isinstance(value, Mapping):
        return {key: without_places(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(part) for part in value]
    if isinstance(value, str) and (match := _PLACE.fullmatch(value)):
        return match["scheme"] + _nearer(match["path"])
    return value


def _nearer(path: str) -> str:
    here = Path.cwd()
    if Path(path).is_relative_to(here):
        return Path(path).relative_to(here).as_posix()
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def _walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _walk(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)) and any(isinstance(part, (Mapping, list, tuple)) for part in value):
        for index, part in enumerate(value):
            yield from _walk(part, f"{key}.{index}")
    elif isinstance(value, str):
        yield key, value
    elif value is not None:
        yield key, json.dumps(value, default=str)
