"""The names of structures: from a file that holds them, or from a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..data.cases import Labels
from ..errors import DataError, UsageError


def read_labels(text: str) -> Labels:
    """The structures that a text names.

    Args:
        text: `name=value,name=value`, or the path of a JSON file: a package's `labels.json`, the `dataset.json` of
            Decathlon (`"1": "liver"`) or of nnU-Net (`"liver": 1`), or a mapping of names to values.

    Raises:
        UsageError: It is neither.
        DataError: Two structures have one value, or a value is not from 1 to 65535.
    """
    if "=" in text and not Path(text).is_file():
        return Labels.of(dict(_assignment(part, text) for part in text.split(",") if part.strip()))
    path = Path(text)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"--labels {text}: there is no such file; give a JSON file or name=value,name=value") from None
    except (OSError, ValueError, RecursionError):
        raise UsageError(f"--labels {text}: is no JSON file") from None
    try:
        return _labels(document["labels"] if isinstance(document, dict) and "labels" in document else document)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise UsageError(
            f"--labels {text}: does not name structures with one value each, as in "
            '{"labels": {"liver": 1, "spleen": 2}}'
        ) from None


def _assignment(part: str, text: str) -> tuple[str, int]:
    name, _, value = part.partition("=")
    if not name.strip() or not value.strip().isascii() or not value.strip().isdigit():
        raise UsageError(f"--labels {text}: expected name=value with a whole number, not {part.strip()!r}")
    return name.strip(), int(value)


def _labels(document: Any) -> Labels:
    if isinstance(document, list):
        return _distinct([(str(row["name"]), _whole(row["value"])) for row in document])
    if all(isinstance(value, str) and key.isdigit() for key, value in document.items()):
        return _distinct([(name, int(value)) for value, name in document.items()])
    return _distinct([(str(name), _whole(value)) for name, value in document.items()])


def _distinct(names: list[tuple[str, int]]) -> Labels:
    if len(dict(names)) != len(names):
        raise DataError(f"two labels have one name: {', '.join(name for name, _ in names)}")
    return Labels.of(dict(names))


def _whole(value: Any) -> int:
    """A whole number; a list, by which nnU-Net makes one structure of several values, is none."""
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError
    return int(value)
