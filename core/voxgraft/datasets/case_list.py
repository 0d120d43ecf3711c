"""The local list of cases: where each lies and what the scanner called it, so that a scan behind a hash is found again.

It may hold what identifies people, so only its owner reads it, and nothing of it goes into logs, MLflow or packages.
"""

from __future__ import annotations

import io
from pathlib import Path

from ..support.files import write_text
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
        DataError: It cannot be written.
    """
    parts = {}
    for part, names in (("train", split.train), ("validation", split.validation)) if split is not None else ():
        parts.update(dict.fromkeys(names, part))
    text = io.StringIO()
    write_rows(text, [HEAD, *(_row(case, parts.get(case.id, "")) for case in dataset.cases)])
    write_text(target, text.getvalue(), private=True)


def _row(case: Case, part: str) -> tuple[str, ...]:
    paths = dict.fromkeys(str(reference.path) for reference in case.present)
    series = dict.fromkeys(reference.series or "" for reference in case.present)
    return (case.id, case.patient, part, "; ".join(paths), "; ".join(filter(None, case.described)), "; ".join(series))
