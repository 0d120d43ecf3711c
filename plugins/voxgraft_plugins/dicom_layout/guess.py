"""Whether a folder whose layout nobody named is a tree of DICOM files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from .names import SIDECARS

NAMES = (".dcm", ".dicom", ".ima", "")
"""Endings of DICOM files; many have none, and many of those end in the digits of a UID."""
MOST = 5000
"""File names that are looked at."""


def guess(folder: Path) -> Mapping[str, Any] | None:
    """The options for a folder in which everything that is no sidecar is called as DICOM files are, and one is such."""
    found = [file for file in islice(_files(folder), MOST) if file.suffix.lower() not in SIDECARS]
    if not found or not all(file.suffix.lower() in NAMES or file.suffix[1:].isdigit() for file in found):
        return None
    try:
        with found[0].open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return None
    return {"path": folder, "labels": {"source": "auto"}} if head[128:] == b"DICM" else None


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith(".") and name != "DICOMDIR")
