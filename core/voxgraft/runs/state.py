"""The state of a data set's files: cheap to find, and another one as soon as a file changes."""

from __future__ import annotations

from dataclasses import asdict

from ..data.cases import Dataset, ImageRef
from ..data.fingerprint import files_of
from ..files import digest


def data_state(dataset: Dataset) -> str:
    """A fingerprint of the names, sizes and times of all files that the cases are read from."""
    rows = []
    for case in dataset.cases:
        for ref in case.references:
            rows.append([case.id, case.patient, ref.series, _files(ref), *ref.structures])
    return digest([rows, list(dataset.channels), asdict(dataset.labels) if dataset.labels else None])


def _files(ref: ImageRef) -> list[list[object]]:
    files = files_of(ref) if ref.files or ref.path.is_dir() else [ref.path]
    stats = [(file, file.stat()) for file in files if file.exists()]
    return [[file.as_posix(), stat.st_size, stat.st_mtime_ns] for file, stat in stats]
