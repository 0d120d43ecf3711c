"""The NRRD header, as teem.sourceforge.net/nrrd/format.html has it, and the segments that 3D Slicer adds."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

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
from .lengths import check_directions, check_lengths, factors, lengths_of
from .reader import TextReader
from .segments import segments_of

TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
"""The names of each type; the last is the one that is written, without its `_t`."""
_DTYPES = {name: code for code, names in TYPES.items() for name in names}
_PACKINGS = {
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
    **dict.fromkeys(("text", "txt", "ascii"), "text"),
    "raw": "raw",
}
_SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), LPS),
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(3)),
    **dict.fromkeys(("left-anterior-superior", "las"), np.diag([-1.0, 1.0, 1.0])),
}
_FIELDS = {
    "dimension", "type", "block size", "blocksize", "encoding", "endian", "content", "old min", "oldmin", "old max",
    "oldmax", "min", "max", "data file", "line skip", "byte skip", "number", "sample units", "sampleunits", "sizes",
    "spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs", "centers", "centerings", "labels",
    "units", "kinds", "space", "space dimension", "space units", "space origin", "space directions",
    "measurement frame",
}  # fmt: skip
_IN_SPACE = {"domain", "space"}
_UNPLACED = {"", "scanner-xyz", "scannerxyz", "3d-right-handed", "3d-left-handed"}
"""Spaces that do not say how axes lie in the patient, without the word for time."""
_NO_COLOURS = {"hsv-color": "HSV", "xyz-color": "XYZ"}


def parse_nrrd(path: Path) -> Header:
    """Read a header.

    Raises:
        HeaderError: It is none, or means no image that is read.
    """
    fields, keys, end = _lines(path)
    axes = int(_one(fields, "dimension", int))
    sizes = checked_sizes(numbers(_needed(fields, "sizes"), int), axes)
    code = _DTYPES.get(fields.get("type", "").lower())
    if code is None:
        raise HeaderError(f"its voxels are of type {fields.get('type', 'unknown')[:40]!r}, which is not read")
    packing = _PACKINGS.get(fields.get("encoding", "").lower())
    if packing is None:
        raise HeaderError(f"its voxels are packed as {fields.get('encoding', 'unknown')[:40]!r}, which is not read")
    little = _little(fields, code[1] == "1" or packing == "text")
    file, offset = _data(path, fields, end)
    skip = (int(_one(fields, "line skip", int, 0)), int(_one(fields, "byte skip", int, 0)))
    if skip[1] == -1 and packing == "raw":
        offset, skip = -1, (0, 0)
    if min(skip) < 0:
        raise HeaderError("its header leaves out a negative number of lines or bytes")
    _kinds(fields, axes)
    check_lengths(fields, axes)
    space, affine, problems = _geometry(fields, axes, sizes)
    layers = int(np.prod([n for axis, n in enumerate(sizes) if axis not in space], dtype=np.int64))
    return Header(
        body=Body(file, offset, packing, np.dtype(code).newbyteorder("<" if little else ">"), sizes, skip),
        space=space,
        affine=affine,
        problems=problems,
        facts=segments_of(keys, layers),
    )


def _little(fields: dict[str, str], same: bool) -> bool:
    """Whether the first byte of a value is its lowest.

    Args:
        same: It does not matter how the bytes of a value are ordered.

    Raises:
        HeaderError: It matters, and the header does not say it.
    """
    order = fields.get("endian", "little" if same else "").lower()
    if not order:
        raise HeaderError("its header does not say the order of bytes")
    if order not in ("little", "big"):
        raise HeaderError(f"its header gives the order of bytes as {order[:20]!r}; NRRD has little and big")
    return order == "little"


def _lines(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """The fields, the keys that programs add, and the byte behind the header."""
    with path.open("rb") as stream:
        head = stream.read(LONGEST_HEADER)
    if not head.startswith(b"NRRD000"):
        raise HeaderError("it is empty" if not head else "it does not begin as a NRRD does")
    gap = re.search(rb"\r?\n\r?\n", head)
    if gap is None and len(head) == LONGEST_HEADER:
        raise HeaderError("its header has no end")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in head[: gap.start() if gap else None].decode("utf-8", "replace").splitlines()[1:]:
        at, add = line.find(": "), line.find(":=")
        if line.startswith("#") or not line.strip():
            continue
        if add > 0 and not 0 < at < add:
            keys[line[:add].strip()] = line[add + 2 :].strip()
        else:
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            name = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}.get(name, name)
            if not colon or name not in _FIELDS:
                raise HeaderError("its header has a field that NRRD does not have; it may be damaged")
            if name in fields:
                raise HeaderError(f"its header has the field {name!r} twice")
            fields[name] = value.strip()
    return fields, keys, gap.end() if gap else len(head)


def _data(path: Path, fields: dict[str, str], end: int) -> tuple[Path, int]:
    """The file that holds the voxels, and where in it."""
    name = fields.get("data file")
    if name is None:
        return path, end
    if name.upper().startswith("LIST") or "%" in name:
        raise HeaderError("its voxels are in several files, which is not read; save it as one file")
    return beside(path, name), 0


def _geometry(
    fields: dict[str, str], axes: int, sizes: tuple[int, ...]
) -> tuple[tuple[int, ...], Array, tuple[Problem, ...]]:
    """The axes in space, the affine, and what is doubtful."""
    given = "space directions" in fields
    space, columns, place, units = (_directed if given else _spaced)(fields, axes, sizes)
    dims = len(space)
    if not (np.isfinite(columns).all() and np.isfinite(place).all()):
        raise HeaderError("its header places the voxels by values that are not finite numbers")
    problems: tuple[Problem, ...] = ()
    turn = _turn(fields.get("space", ""))
    if given and "space origin" not in fields:
        text = "its header does not say where its first voxel lies; the origin is taken"
        problems = (Problem("no-origin", text, "warning"),)
    if not given:
        turn = None  # a space without directions says nothing of where the axes run
    if turn is None and dims == 2:  # a picture, which has no place in a patient
        turn = LPS
    if turn is None:
        text = "its header does not say how its axes lie in the patient; left, back and up are taken for x, y and z"
        problems, turn = (*problems, Problem("no-orientation", text, "warning")), LPS
    affine, sheared = affine_of(turn @ columns, turn @ place, dims)
    return space, affine, (*problems, *units, *sheared)


def _turn(space: str) -> Array | None:
    """From a space to RAS; None where it does not say how it lies in the patient."""
    name = space.lower().removesuffix("-time")
    name = name if name in _SPACES else name.removesuffix("t")
    if name not in _SPACES and name not in _UNPLACED:
        raise HeaderError(f"its header names the space {space[:40]!r}, which NRRD does not have")
    return _SPACES.get(name)


_Placed = tuple[tuple[int, ...], Array, Array, tuple[Problem, ...]]
"""The axes in space, their steps as columns and the first voxel in millimetres of the file's space, and notes."""


def _directed(fields: dict[str, str], axes: int, sizes: tuple[int, ...]) -> _Placed:
    """Where the voxels are by `space directions` and `space origin`."""
    directions = _vectors(fields["space directions"])
    if len(directions) != axes:
        raise HeaderError(f"its header gives {len(directions)} directions for {axes} axes")
    space = checked_space([axis for axis, vector in enumerate(directions) if vector is not None], sizes)
    steps = [vector for vector in directions if vector is not None]
    parts = len(steps[0])
    origins = _vectors(fields.get("space origin", "none"))
    origin = origins[0] if origins and origins[0] is not None else [0.0] * parts
    if parts not in (len(space), 3) or any(len(vector) != parts for vector in (*steps, origin)):
        raise HeaderError("its directions have not as many parts as the image has axes")
    if "space dimension" in fields and _one(fields, "space dimension", int) != parts:
        raise HeaderError("its directions have not as many parts as its space has dimensions")
    check_directions(fields, axes, directions)
    factor, problems = factors(fields.get("space units", ""), parts, "space units")
    columns, place = np.eye(3), np.zeros(3)
    for n, vector in enumerate(steps):
        columns[:, n] = 0.0
        columns[:parts, n] = np.multiply(vector, factor)
    if len(space) == 2 and parts == 3:
        columns[:, 2] = np.cross(columns[:, 0], columns[:, 1])
        columns[:, 2] /= np.sqrt((columns[:, 2] ** 2).sum()) or 1.0
    place[:parts] = np.multiply(origin, factor)
    return space, columns, place, problems


def _spaced(fields: dict[str, str], axes: int, sizes: tuple[int, ...]) -> _Placed:
    """Where the voxels are without directions: each axis by itself."""
    space = checked_space(_plain_axes(_kinds(fields, axes), axes, fields), sizes)
    lengths, problems = lengths_of(fields, sizes, space)
    columns, place = np.eye(3), np.zeros(3)
    columns[range(len(space)), range(len(space))] = lengths.steps
    place[: len(space)] = lengths.starts
    origin = _vectors(fields.get("space origin", "none"))[0]
    if origin is not None and (any(lengths.starts) or len(origin) not in (len(space), 3)):
        raise HeaderError("its header has an origin in space that its axes do not fit")
    if origin is not None:
        place[: len(origin)] = np.multiply(origin, (*lengths.units, 1.0)[: len(origin)])
    return space, columns, place, problems


def _kinds(fields: dict[str, str], axes: int) -> list[str]:
    """What each axis is; nothing where the header does not say.

    Raises:
        HeaderError: There are not so many, or one is of no kind that is read.
    """
    kinds = fields.get("kinds", "").lower().split()
    if kinds and len(kinds) != axes:
        raise HeaderError(f"its header gives {len(kinds)} kinds for {axes} axes")
    if "complex" in kinds:
        raise HeaderError("its voxels are complex numbers, which are not read")
    for kind in kinds:
        if kind in _NO_COLOURS:
            raise HeaderError(f"its colours are {_NO_COLOURS[kind]}, which is not read; save it in RGB")
    return kinds


def _plain_axes(kinds: list[str], axes: int, fields: dict[str, str]) -> list[int]:
    """The axes in space of a header without directions: by kinds, else by spacings, else the first three."""
    if len(kinds) == axes and all(kind in _IN_SPACE for kind in kinds) and axes <= 3:
        return list(range(axes))
    if len(kinds) == axes and any(kind in _IN_SPACE for kind in kinds):
        return [axis for axis, kind in enumerate(kinds) if kind in _IN_SPACE][:3]
    spacings = numbers(fields.get("spacings", ""))
    if len(spacings) == axes and any(np.isnan(spacings)):
        return [axis for axis, step in enumerate(spacings) if not np.isnan(step)]
    return list(range(min(axes, 3)))


def _vectors(text: str) -> list[list[float] | None]:
    """The vectors of a field: `(1,0,0)` or `none`."""
    if not re.fullmatch(r"\s*(?:(?:\([^()]*\)|none)\s*)+", text, re.IGNORECASE):
        raise HeaderError("its header has something else where vectors belong")
    found = re.findall(r"\(([^)]*)\)|(none)", text, re.IGNORECASE)
    vectors = [None if none else numbers(inside) for inside, none in found]
    # A vector of no numbers is how some programs say that an axis is not in space.
    return [None if vector is None or np.isnan(vector).all() else vector for vector in vectors]


def _needed(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise HeaderError(f"its header does not say its {name}")
    return fields[name]


def _one(fields: dict[str, str], name: str, kind: type, default: Any = None) -> Any:
    if default is not None and name not in fields:
        return default
    found = numbers(_needed(fields, name), kind)
    if len(found) != 1:
        raise HeaderError(f"its header has {len(found)} values for {name!r}")
    return found[0]


nrrd_reader = partial(TextReader, "nrrd", parse_nrrd)
