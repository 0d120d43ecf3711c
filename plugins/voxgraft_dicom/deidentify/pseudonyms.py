"""The table of patients and pseudonyms that a user gives or asks for."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from voxgraft.plugin import CELLS, UsageError, as_written, read_bytes, write_rows

COLUMNS = ("patient_id", "pseudonym")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9]|[A-Za-z0-9]")


def read_pseudonyms(path: Path) -> dict[str, str]:
    """New names by patient id, from a CSV file with the columns `patient_id` and `pseudonym`.

    Raises:
        UsageError: It cannot be read, a name cannot be that of a folder, or two patients share one.
    """
    try:
        text = read_bytes(path, marks=CELLS).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as a CSV file ({type(error).__name__})") from error
    table: dict[str, str] = {}
    owners: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        patient, name = (as_written((row.get(column) or "").strip()) for column in COLUMNS)
        if not patient or not name:
            raise UsageError(f"{path}:{line}: needs the columns {' and '.join(COLUMNS)}, both filled")
        if not _NAME.fullmatch(name):
            raise UsageError(f"{path}:{line}: the pseudonym must consist of letters, digits, '.', '-', '_', 64 at most")
        if table.setdefault(patient, name) != name or owners.setdefault(name.casefold(), patient) != patient:
            raise UsageError(f"{path}:{line}: two patients share a pseudonym, or one has two")
        if name.casefold() == patient.casefold():
            raise UsageError(f"{path}:{line}: the pseudonym is the patient's id")
    return table


def write_pseudonyms(path: Path, table: dict[str, str]) -> None:
    """Write the table, for its owner's eyes only.

    Raises:
        UsageError: It cannot be written.
    """
    from .tree import private_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with private_file(path) as file:
            write_rows(file, [COLUMNS, *sorted(table.items())])
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
