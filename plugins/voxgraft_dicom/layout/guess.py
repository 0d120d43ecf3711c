"""Whether a folder whose layout nobody named is a tree of DICOM files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from voxgraft.plugin import SIDECARS, is_archive

NAMES = (".dcm", ".dicom", ".ima", "")
"""Endings of DICOM files; many have none, and many of those end in the digits of a UID."""
MOST = 5000
"""File names that are looked at."""


def guess(folder: Path) -> Mapping[str, Any] | None:
    """The options for a folder in which everything that is not a sidecar is DICOM by its name or content, and one
    is."""
    files = [file for file in islice(_files(folder), MOST) if not _is_sidecar(file)]
    if not files or not all(_is_named(file) or _is_dicom(file) for file in files) or not _is_dicom(files[0]):
        return None
    return {"path": folder, "labels": {"source": "auto"}}


def _is_sidecar(file: Path) -> bool:
    inside = Path(file.stem).suffix.lower()  # `.nii.gz` is an image of another kind
    packed = is_archive(file) and (file.suffix.lower() != ".gz" or inside in (*NAMES, ".tar"))
    return (file.suffix.lower() in SIDECARS or packed) and not _is_dicom(file)


def _is_named(file: Path) -> bool:
    return file.suffix.lower() in NAMES or file.suffix[1:].isdigit()


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith(".") and name != "DICOMDIR")
