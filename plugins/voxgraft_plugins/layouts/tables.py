"""Tables as people export them: comma, semicolon or tab; UTF-8 with or without a mark, UTF-16, or a Windows code."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from voxgraft.plugin import CELLS, DataError, composed, read_bytes

MISSING = ("", "n/a", "na", "nan", "null", "none")
"""What stands in a table for nothing, whatever its case."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table by their columns, and notes on how it was read."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read a table; cells lose the blanks around them, their accents are composed, and empty lines are skipped.

    Raises:
        DataError: It is not there, is not a table, or a line has more cells than there are columns.
    """
    text, notes = _text(path)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: is not a readable table: {error}") from None
    numbered = [(number, [composed(cell.strip()) for cell in line]) for number, line in enumerate(lines, start=1)]
    filled = [(number, line) for number, line in numbered if any(line)]
    if len(filled) < 2:
        raise DataError(f"{path}: has no row below the names of its columns")
    columns = filled[0][1]
    while columns and not columns[-1]:
        columns.pop()
    if not all(columns) or len(set(columns)) < len(columns):
        raise DataError(f"{path}: its first line must give each column a name of its own")
    rows = []
    for number, line in filled[1:]:
        if any(line[len(columns) :]):
            raise DataError(f"{path}: line {number} has {len(line)} cells for {len(columns)} columns")
        rows.append(dict(zip(columns, [*line, *[""] * len(columns)], strict=False)))
    return Table(tuple(columns), tuple(rows), notes)


def facts_in(path: Path, key: str) -> dict[str, dict[str, str | float]]:
    """What a table says of each patient, by its column `key`; nothing where there is no such table.

    Raises:
        DataError: It has no such column.
    """
    if not path.is_file():
        return {}
    table = read_table(path)
    if key not in table.columns:
        raise DataError(f"{path}: has no column {key!r}")
    return {row[key]: facts_of(row, {key}) for row in table.rows}


def facts_of(row: dict[str, str], besides: set[str]) -> dict[str, str | float]:
    """The cells of a row as facts: numbers where they are some, nothing where nothing is known."""
    return {
        name.lower(): number_or_text(cell)
        for name, cell in row.items()
        if name not in besides and cell.casefold() not in MISSING
    }


def number_or_text(cell: str) -> str | float:
    """A finite number with a point or a comma; else the text. Numbers with leading zeros are identifiers."""
    plain = cell.replace(",", ".", 1)
    digits = plain.lstrip("+-").replace(".", "", 1)
    leading = len(digits) > 1 and digits[0] == "0" and not plain.lstrip("+-").startswith("0.")
    return float(plain) if digits.isascii() and digits.isdigit() and not leading else cell


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    try:
        raw = read_bytes(path, marks=CELLS)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return raw.decode("utf-16"), ()
        if b"\0" in raw:
            raise DataError(f"{path}: is not a text file")
        return raw.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        note = f"{path.name} is not UTF-8; it was read as a Windows table (code page 1252)"
        return raw.decode("cp1252", errors="replace"), (note,)
