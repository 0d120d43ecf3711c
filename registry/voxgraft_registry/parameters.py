"""A workflow as MLflow's parameters: flat, short, of letters that MLflow takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_KEY = 250
LONGEST_VALUE = 500
"""What every version of MLflow takes."""


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested plain values under dotted keys, as text of a length that MLflow takes; what is None is left out."""
    return {
        key_of(key)[:LONGEST_KEY]: text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
        for key, text in _walk(values, "")
    }


def key_of(name: str) -> str:
    """A name of the letters that MLflow takes in keys."""
    return re.sub(r"[^\w\-. /:]", "_", name)


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
