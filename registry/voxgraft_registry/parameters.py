"""A workflow as MLflow's parameters: flat, short, of letters that MLflow takes."""

from __future__ import annotations

import hashlib
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
        _short(key): text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
        for key, text in _walk(values, "")
    }


def key_of(name: str) -> str:
    """A name as a key that MLflow takes: other names have other keys, and `name_of` gives the name back.

    Letters of every script, digits, `_`, `-`, `.`, single spaces and slashes stay; another character stands as its
    number between colons, such as `X :28:p:29:` for `X (p)`. Of a name that is too long the beginning stays, and a
    fingerprint of all of it.
    """
    return _short(_OTHERS.sub(_number, name))


def name_of(key: str) -> str:
    """The name that `key_of` made a key of; of one that was too long, the key."""
    return key if _CUT in key else re.sub(r":([0-9a-f]+):", lambda match: chr(int(match[1], 16)), key)


_OTHERS = re.compile(r"[^\w\-. /]|^[./ ]+|[./ ]+$|(?<=[/ ])[./ ]+")
"""What MLflow takes in no key, and dots, slashes and spaces where it would take them for another path."""
_CUT = ":cut:"


def _number(match: re.Match[str]) -> str:
    return "".join(f":{ord(letter):x}:" for letter in match[0])


def _short(key: str) -> str:
    if len(key) <= LONGEST_KEY:
        return key
    end = _CUT + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return key[: LONGEST_KEY - len(end)].rstrip("./ ") + end


def _walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            own = key_of(str(name)).replace(".", ":2e:")  # a dot stands between names alone
            yield from _walk(part, f"{key}.{own}" if key else own)
    elif isinstance(value, (list, tuple)) and any(isinstance(part, (Mapping, list, tuple)) for part in value):
        for index, part in enumerate(value):
            yield from _walk(part, f"{key}.{index}")
    elif isinstance(value, str):
        yield key, value
    elif value is not None:
        yield key, json.dumps(value, default=str)
