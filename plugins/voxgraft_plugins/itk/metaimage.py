"""The MetaImage header, as ITK's MetaIO reads and writes it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, Problem

from .header import (
    LONGEST_HEADER,
    LPS,
    Body,
    Header,
    HeaderError,
    affine_of,
    beside,
    checked_sizes,
    checked_space,
    numbers,
)
from .reader import TextReader

DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
"""MET_LONG is left out: it has 4 bytes or 8, as the machine that wrote it had."""


def parse_metaimage(path: Path) -> Header:
    """Read a header.

    Raises:
        HeaderError: It is none, or means no image that is read.
    """
    fields, end = _lines(path)
    axes = _count(fields, "NDims")
    sizes = checked_sizes(numbers(fields.get("DimSize", ""), int), axes)
    kind = fields.get("ElementType", "").upper().removesuffix("_ARRAY")
    if kind not in DTYPES:
        raise HeaderError(f"its voxels are of type {kind[:40]!r}, which is not read")
    if any(numbers(fields.get(f"ElementToIntensityFunction{name}", str(plain))) != [plain] for name, plain in _SCALING):
        raise HeaderError("its voxels are to be scaled, which programs do differently; save it with its intensities")
    big = _true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    packing = "zlib" if _true(fields, "CompressedData") else "raw"
    if not _true(fields, "BinaryData", missing=True):
        packing = "text"
    name = fields["ElementDataFile"]
    if name.upper().startswith("LIST") or "%" in name:
        raise HeaderError("its voxels are in several files, which is not read; save it as one file")
    local = name.upper() == "LOCAL"
    size = numbers(fields.get("HeaderSize", "0"), int)
    offset = end if local else size[0] if len(size) == 1 else 0
    if offset < -1:
        raise HeaderError("its voxels are said to begin before the file does")
    channels = _count(fields, "ElementNumberOfChannels", 1)
    space = checked_space(list(range(1, 1 + min(axes, 3))), (channels, *sizes))
    affine, problems = _geometry(fields, axes, len(space))
    body = Body(
        path=path if local else beside(path, name),
        offset=offset,
        packing=packing,
        dtype=np.dtype(DTYPES[kind]).newbyteorder(">" if big else "<"),
        sizes=(channels, *sizes),
    )
    return Header(body, space, affine, problems)


_SCALING = (("Slope", 1.0), ("Offset", 0.0))


def _lines(path: Path) -> tuple[dict[str, str], int]:
    """The fields, and the byte behind the header, whose last line is ElementDataFile."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        head = stream.read(LONGEST_HEADER)
    at = 0
    while at < len(head):
        end = head.find(b"\n", at)
        end = len(head) if end < 0 else end
        name, equals, value = _text(head[at:end]).partition("=")
        at = end + 1
        if not equals or not name.strip().isidentifier():
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            if fields.get("ObjectType", "Image") != "Image":
                raise HeaderError(f"it holds a {fields['ObjectType'][:40]!r} and no image")
            return fields, at
    raise HeaderError("it is empty" if not head else "it does not begin with a MetaImage header, or ends inside it")


def _text(line: bytes) -> str:
    """A line as UTF-8, as names of files are today, or else as Latin-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _geometry(fields: dict[str, str], axes: int, dims: int) -> tuple[Array, tuple[Problem, ...]]:
    """The affine, and what is doubtful. The parts of the matrix are the directions of the axes one after another."""
    matrix = _first(fields, "TransformMatrix", "Rotation", "Orientation")
    origin = numbers(_first(fields, "Offset", "Position", "Origin") or " ".join(["0"] * axes))
    spacing = numbers(_first(fields, "ElementSpacing", "ElementSize") or " ".join(["1"] * axes))
    turned = numbers(matrix) if matrix else np.eye(axes).ravel().tolist()
    if len(turned) != axes * axes or len(origin) != axes or len(spacing) != axes:
        raise HeaderError("its matrix, offset or spacing does not have as many parts as it has axes")
    columns, place = np.eye(3), np.zeros(3)
    columns[:dims, :dims] = np.array(turned).reshape(axes, axes)[:dims, :dims].T * spacing[:dims]
    place[:dims] = origin[:dims]
    problems: tuple[Problem, ...] = ()
    if not matrix:
        text = "its header says nothing of orientation; left, back and up are taken for x, y and z"
        problems = (Problem("no-orientation", text, "warning"),)
    affine, sheared = affine_of(LPS @ columns, LPS @ place, dims)
    return affine, (*problems, *sheared)


def _first(fields: dict[str, str], *names: str) -> str:
    return next((fields[name] for name in names if fields.get(name)), "")


def _true(fields: dict[str, str], *names: str, missing: bool = False) -> bool:
    text = _first(fields, *names)
    return text[:1].upper() in ("T", "1", "Y") if text else missing


def _count(fields: dict[str, str], name: str, default: int | None = None) -> int:
    if name not in fields and default is not None:
        return default
    found = numbers(fields.get(name, ""), int)
    if len(found) != 1 or not 0 < found[0] < 1 << 20:
        raise HeaderError(f"its header gives no proper {name}")
    return int(found[0])


metaimage_reader = partial(TextReader, "metaimage", parse_metaimage)
