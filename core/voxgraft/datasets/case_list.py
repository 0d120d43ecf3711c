"""The local list of cases: where each lies and what the scanner called it, so that a scan behind a hash is found again.

It may hold what identifies people, so only its owner reads it, and nothing of it goes into logs, MLflow or packages.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from ..support.files import atomic_write
from ..support.texts import write_rows
from .cases import Case, Dataset, Split

HEAD = ("case", "patient", "part", "place", "description", "series")
NAME = "cases.csv"


def is_traced(dataset: Dataset) -> bool:
    """Whether its cases are series, whose names say nothing of where they are."""
    return any(reference.series for case in dataset.cases for reference in case.present)


def write_trace(target: Path, dataset: Dataset, split: Split | None = None) -> None:
    """Write the list as a CSV table that only its owner reads (mode 0600).

    Args:
        target: The table; it is replaced whole.
        dataset: Its cases, one a row.
        split: Says of each case what it is for; None leaves that empty.

    Raises:
        OSError: It cannot be written.
    """
    parts = {}
    for part, names in (("train", split.train), ("validation", split.validation)) if split is not None else ():
        parts.update(dict.fromkeys(names, part))
    text = io.StringIO()
    write_rows(text, [HEAD, *(_row(case, parts.get(case.id, "")) for case in dataset.cases)])
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text.getvalue())


def _row(case: Case, part: str) -> tuple[str, ...]:
    paths = dict.fromkeys(str(reference.path) for reference in case.present)
    series = dict.fromkeys(reference.series or "" for reference in case.present)
    return (case.id, case.patient, part, "; ".join(paths), "; ".join(filter(None, case.described)), "; ".join(series))
