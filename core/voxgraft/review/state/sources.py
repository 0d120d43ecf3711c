"""The scan that was segmented: found by the ledger's input path, and known to be the same by its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch.entry import Entry, hash_of
from ...batch.ledger import Row
from ...errors import DataError, VoxGraftError
from ...imaging.read import scan
from ...imaging.volume import Item

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

LONGEST = 64
"""Letters of a value of a header."""
_ESCAPED = re.compile(r"\\(\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4})")
_SHORT = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


class Gone(DataError):
    """The scan is no longer where it was, or is another one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What finds a scan in the archive; read from its header for the page, and kept nowhere.

    Attributes:
        study_date: As `2026-11-29`.
    """

    accession: str | None = None
    study_date: str | None = None
    description: str | None = None
    modality: str = ""


def items_of(row: Row, out: Path, catalogue: Catalogue) -> list[Item]:
    """The images that a scan was read from, by their headers, in the order of its channels.

    Args:
        row: Of the ledger.
        out: The batch's folder.
        catalogue: Whose readers look at the headers.

    Raises:
        Gone: They are not there.
    """
    series = [part for part in row.series.split(" + ") if part]
    found: list[Item] = []
    for part in row.input.split(" + "):
        path = path_of(part, out)
        if not path.exists():
            raise Gone("the scan is no longer where it was segmented from")
        try:
            found += [item for item in scan(path, catalogue) if item.kind == "image"]
        except VoxGraftError:
            raise Gone("the scan can no longer be read") from None
    if series:
        found = [item for uid in series for item in found if item.series == uid]
    if not found:
        raise Gone("the series that was segmented is no longer there")
    return found


def check_same(row: Row, items: list[Item], out: Path) -> None:
    """Compare the bytes of a scan with those that were segmented.

    Args:
        row: Of the ledger.
        items: What is there now, from `items_of`.
        out: The batch's folder.

    Raises:
        Gone: They are others.
    """
    entry = Entry(tuple(items), path_of(row.input.split(" + ")[0], out), row.input, row.series)
    if row.input_hash and hash_of(entry) != row.input_hash:
        raise Gone("the scan has changed since it was segmented")


def path_of(text: str, out: Path) -> Path:
    """The path that the ledger's escaped text means."""
    path = out / text
    return path if path.exists() else out / _ESCAPED.sub(_plain, text)


def _plain(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] == "x":
        return chr(0xDC00 + int(code[1:], 16))
    return chr(int(code[1:], 16)) if code[0] == "u" else _SHORT[code]


def identity_of(row: Row, out: Path, catalogue: Catalogue) -> Identity:
    """What the header of a scan says that finds it in the archive; nothing where it cannot be read.

    Args:
        row: Of the ledger.
        out: The batch's folder.
        catalogue: Whose readers look at the headers.
    """
    try:
        item = items_of(row, out, catalogue)[0]
    except VoxGraftError:
        return Identity()
    known = {name: item.archive.get(name, "")[:LONGEST] or None for name in ("accession", "study_date")}
    return Identity(**known, description=item.description or None, modality=item.modality or "")
