"""Where the header of a NIfTI or Analyze file may tell who the patient is."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

from voxgraft.plugin import Trace, signs

HEAD = 1 << 16
"""Bytes at the beginning of a file that are looked at."""

FIELDS = {
    348: {"db_name": (14, 18), "descrip": (148, 80), "aux_file": (228, 24), "intent_name": (328, 16)},
    540: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16)},
}
"""By the size of a NIfTI header the places and lengths of its free fields."""


def traces(file: Path) -> Iterator[Trace]:
    """The free fields and the extensions of NIfTI-1, NIfTI-2 and Analyze headers, read where the standard has them."""
    with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as stream:
        head = stream.read(HEAD)
    sizes = {order: struct.unpack_from(f"{order}i", head)[0] for order in "<>"}
    orders = [(order, size) for order, size in sizes.items() if size in FIELDS]
    if not orders:
        return
    order, size = orders[0]
    for field, (start, length) in FIELDS[size].items():
        text = head[start : start + length].split(b"\0")[0].decode("latin-1").strip()
        for kind in list(signs(text)) or (["text"] if field == "db_name" and text else []):
            yield Trace("text-in-header", field, kind)
    offset = size + 4
    end = (
        int(struct.unpack_from(f"{order}f", head, 108)[0])
        if size == 348
        else struct.unpack_from(f"{order}q", head, 168)[0]
    )
    while head[size] and offset + 8 <= min(len(head), end):
        length, code = struct.unpack_from(f"{order}ii", head, offset)
        if length < 8:
            return
        if code == 2:
            yield Trace("text-in-header", "extension", "a DICOM header")
        for kind in signs(head[offset + 8 : offset + length].decode("latin-1")) if code != 2 else ():
            if kind != "a date" or code == 6:  # programs note there when they wrote; people comment in 6
                yield Trace("text-in-header", "extension", kind)
        offset += length
