"""What finds the scans of a batch in the archive they came from: accession number, study date, series description.

An accession number leads to the patient. It therefore stands in no ledger, log, report of a scan or tracker, but in one
file of the batch's folder that only its owner may read, and in the page that is written from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..support.files import read_json, write_json
from ..support.texts import legible
from .entry import Entry
from .parts import homes

ARCHIVE = "archive.json"
LONGEST = 200
"""Characters of a value; DICOM allows 64 at most."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a scan is in its archive; empty where its files do not say.

    Attributes:
        study_date: As `2026-11-29`.
        description: What the scanner called the series.
    """

    accession: str = ""
    study_date: str = ""
    description: str = ""


def remember(home: Path, entries: Iterable[Entry]) -> None:
    """Add the scans of a call to what is known of the batch, in a file for its owner alone; none where nothing is.

    Args:
        home: The folder of the ledger.
        entries: The scans of the call.

    Raises:
        DataError: It cannot be written.
    """
    known = _recall(home)
    found = {entry.case: origin for entry in entries if any(asdict(origin := _origin(entry)).values())}
    if {**known, **found} != known:
        write_json(home / ARCHIVE, {case: asdict(one) for case, one in {**known, **found}.items()}, private=True)


def recall(out: Path) -> dict[str, Origin]:
    """CASE -> where it is in the archive, of all parts of a batch; empty where no file holds that."""
    return {case: one for home in (out, *(home for _, home in homes(out))) for case, one in _recall(home).items()}


def _recall(home: Path) -> dict[str, Origin]:
    try:
        document = read_json(home / ARCHIVE)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {str(case): _read(one) for case, one in document.items() if isinstance(one, Mapping)}


def _origin(entry: Entry) -> Origin:
    """What the headers of an entry say; several where its channels come from several studies."""

    def every(name: str) -> str:
        values = dict.fromkeys(item.archive.get(name, "") for item in entry.items)
        return legible(" + ".join(value for value in values if value))[:LONGEST]

    return Origin(every("accession"), every("study_date"), entry.description[:LONGEST])


def _read(one: Mapping[str, Any]) -> Origin:
    return Origin(*(str(one.get(name) or "")[:LONGEST] for name in ("accession", "study_date", "description")))
