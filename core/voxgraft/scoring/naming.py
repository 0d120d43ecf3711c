"""The names of structures: from a file that holds them, or from a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..imaging.structures import Labels, Region
from ..support.files import read_json


def read_labels(text: str) -> Labels:
    """The structures that a text names.

    Args:
        text: `name=value,name=value`, or the path of a JSON file: a package's `labels.json`, the `dataset.json` of
            Decathlon (`"1": "liver"`) or of nnU-Net (`"liver": 1`; lists of values are regions, and `ignore` marks
            voxels that count nowhere), or a mapping of names to values.

    Raises:
        UsageError: It is neither.
        DataError: Two structures have one value, or a value is not from 1 to 65535.
    """
    return replace(_read(text), by_option=True)


def _is_file(text: str) -> bool:
    """Whether a text is the path of a file; a long list of structures is longer than any name of one."""
    try:
        return Path(text).is_file()
    except OSError:
        return False


def _read(text: str) -> Labels:
    if "=" in text and not _is_file(text):
        return _distinct([_assignment(part, text) for part in text.split(",") if part.strip()])
    path = Path(text)
    try:
        document = read_json(path)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"--labels {text}: there is no such file; give a JSON file or name=value,name=value") from None
    except OSError as error:
        raise UsageError(f"--labels {text[:200]}: is not a JSON file: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--labels {text}: is not a JSON file: {error}") from None
    try:
        return _labels(document["labels"] if isinstance(document, dict) and "labels" in document else document)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError):
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
    if any(isinstance(value, list) for value in document.values()) or "ignore" in document:
        return _of_nnunet(document)
    return _distinct([(str(name), _whole(value)) for name, value in document.items()])


def _of_nnunet(document: dict[str, Any]) -> Labels:
    """Names of single values and of regions; a value without a name of its own is called by its number."""
    members = {
        str(name): tuple(sorted({_whole(member) for member in (value if isinstance(value, list) else [value])}))
        for name, value in document.items()
    }
    ignore = members.pop("ignore", ())
    single = {values[0]: name for name, values in members.items() if len(values) == 1 and values != (0,)}
    every = sorted({value for values in members.values() for value in values if value})
    labels = _distinct([(single.get(value, str(value)), value) for value in every])
    if len(ignore) > 1 or any(not values for values in members.values()):
        raise ValueError
    regions: tuple[Region, ...] = ()
    if any(len(values) > 1 for values in members.values()):
        regions = tuple(Region(name, values) for name, values in members.items() if values != (0,))
    return replace(labels, ignore=ignore, regions=regions)


def _distinct(names: list[tuple[str, int]]) -> Labels:
    if len(dict(names)) != len(names):
        raise DataError(f"two labels have the same name: {', '.join(name for name, _ in names)}")
    return Labels.of(dict(names))


def _whole(value: Any) -> int:
    """A whole number, which a list or a truth value is not."""
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError
    return int(value)
