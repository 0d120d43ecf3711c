"""Texts as people and programs take them: file names in any bytes and spelling, paths without those of this machine,
cells a spreadsheet would calculate, results in a notebook.

People type `ü` as one character on Windows and Linux (NFC); macOS writes it into file names as `u` with a mark (NFD).
"""

from __future__ import annotations

import csv
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

_UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing round, and bytes of a name that are not UTF-8."""

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def legible(text: str) -> str:
    r"""A text of one line in valid UTF-8, for people: what cannot be shown is written as `\n`, `\xfc` or `\u202e`."""
    return _UNREADABLE.sub(lambda match: _escape(match[0]), text)


def counted(number: int, what: str) -> str:
    """A number and a noun in the form that goes with it."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first names, and how many there are beyond them."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def escaped(name: str) -> str:
    """The name of a file as a legible text; two names never give the same text."""
    return legible(name if os.sep == "\\" else name.replace("\\", "\\\\"))


def encodable(text: str) -> str:
    """A text as it is where UTF-8 can hold it, as in JSON; escaped otherwise."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return escaped(text)
    return text


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python kept aside (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character, f"\\u{code:04x}")


def write_rows(file: TextIO, rows: Iterable[Sequence[object]]) -> None:
    """Write rows of a CSV table.

    Numbers stay what they are, and are empty where they are not finite. Before a text that a spreadsheet would take
    for a formula stands an apostrophe.
    """
    csv.writer(file, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    if not isinstance(value, str):
        return value
    text = encodable(value).replace("\r", "\\r")  # csv.writer quotes it only where it ends lines
    return f"'{text}" if _is_formula(text) and not _NUMBER.fullmatch(text) else text


def as_written(cell: str) -> str:
    """The text of a cell that `write_rows` wrote."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    return text.startswith("\t") or text.lstrip().startswith(tuple(_FORMULA))


class Shown:
    """Shows itself as HTML in a notebook.

    Volumes and scores stand on layers below the reports. The module that draws them is therefore found by its name, and
    only when one is shown.
    """

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        html: str | None = import_module("voxgraft.reports.notebook").html_of(self)
        return html


_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
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


def is_url(text: object) -> bool:
    """Whether this names object storage, and not a path."""
    return isinstance(text, str) and _URL.match(text) is not None
