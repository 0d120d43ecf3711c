"""The secret from which new UIDs, pseudonyms and shifts of dates follow; they are the same in every run.

Pseudonyms may also come from a table that a user gives, or be written into one.
"""

from __future__ import annotations

import csv
import hmac
import io
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from voxgraft.plugin import CELLS, UsageError, as_written, read_bytes, write_rows

_FIRST = "voxgraft-deidentify-key-1 "
_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A secret of 32 bytes; it is never shown."""

    secret: bytes = field(repr=False)

    def uid(self, original: str) -> str:
        """The new UID of an old one: 2.25 and 128 bits of an HMAC-SHA256 (PS3.5, B.2)."""
        return f"2.25.{int.from_bytes(self._hash('uid', original)[:16])}"

    def name(self, patient: str) -> str:
        """The pseudonym of a patient."""
        return f"P{self._hash('patient', patient)[:8].hex().upper()}"

    def days(self, patient: str, largest: int) -> int:
        """By how many days the dates of a patient are shifted: within ±largest, never 0."""
        step = int.from_bytes(self._hash("days", patient)[:8]) % (2 * largest) - largest
        return step if step < 0 else step + 1

    def mark(self, *parts: object) -> str:
        """A short name for a thing that only the holder of the key can connect with it."""
        return self._hash("mark", "\0".join(map(str, parts)))[:8].hex()

    def _hash(self, use: str, text: str) -> bytes:
        return hmac.digest(self.secret, f"{use}:{text}".encode("utf-8", "surrogateescape"), "sha256")


def random_key() -> Key:
    """A key for one run, kept nowhere."""
    return Key(secrets.token_bytes(_BYTES))


def read_key(path: Path, *, new: bool) -> Key:
    """The key in a file; with `new` the file is made, for its owner's eyes only.

    Raises:
        UsageError: There is no such key, it is not a key file, others may read it, or a new one would replace it.
    """
    return _made(path) if new else _read(path)


def _made(path: Path) -> Key:
    key = random_key()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path}: already exists; leave --new-key out to use it, or choose another file") from None
    except OSError as error:
        raise UsageError(f"{path}: the key cannot be written: {error.strerror or error}") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{_FIRST}{key.secret.hex()}\n")
    return key


def _read(path: Path) -> Key:
    try:
        text = read_bytes(path, 1 << 10).decode("ascii")
        others = path.stat().st_mode & 0o077
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such key; --new-key makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not a VoxGraft key file ({type(error).__name__})") from error
    found = re.fullmatch(rf"{re.escape(_FIRST)}([0-9a-f]{{{2 * _BYTES}}})\s*", text)
    if found is None:
        raise UsageError(f"{path}: is not a VoxGraft key file; --new-key makes one in a new file")
    if os.name == "posix" and others:
        raise UsageError(
            f"{path}: anyone on this machine could read this key; `chmod 600` it, and consider making a new one"
        )
    return Key(bytes.fromhex(found[1]))


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
