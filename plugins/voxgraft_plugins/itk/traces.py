"""Where the header of an NRRD or MetaImage file may tell who the patient is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from voxgraft.plugin import Trace, signs

HEAD = 1 << 16
"""Bytes at the beginning of a file that are looked at."""


def traces(file: Path) -> Iterator[Trace]:
    """Keys and values at the beginning of NRRD and MetaImage files."""
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    for row in re.split(rb"\r?\n", head):
        key, found, value = row.decode("latin-1").partition(":=" if b":=" in row else "=")
        key, value = key.strip(), value.strip()
        if key == "ElementDataFile" or not row:
            return
        if not found or not value or not key.isprintable() or len(key) > 64:
            continue
        personal = "0010" in key.replace("|", " ").split() or re.search(r"(?i)patient|subject|birth", key)
        for kind in ["text"] if personal else signs(value):
            yield Trace("text-in-header", "of the patient" if personal else "of the file", kind)
