"""The NIfTI header: its 348 or 540 bytes, checked to describe an image; and its forerunner, the Analyze 7.5 header.

Layout and rules are those of nifti1.h and nifti2.h (nifti.nimh.nih.gov); what the affine is, is said in `affine`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxgraft.plugin import Array

from .affine import affine_of

NIFTI1, NIFTI2 = 348, 540
HEADER_BYTES = NIFTI2 + 4
_FIELDS = {
    NIFTI1: {
        "dim": ("8i2", 40),
        "intent": ("i2", 68),
        "datatype": ("i2", 70),
        "pixdim": ("8f4", 76),
        "vox_offset": ("f4", 108),
        "scl_slope": ("f4", 112),
        "scl_inter": ("f4", 116),
        "xyzt_units": ("u1", 123),
        "qform_code": ("i2", 252),
        "sform_code": ("i2", 254),
        "quatern": ("3f4", 256),
        "qoffset": ("3f4", 268),
        "srow": ("(3,4)f4", 280),
        "magic": ("S4", 344),
    },
    NIFTI2: {
        "magic": ("S8", 4),
        "datatype": ("i2", 12),
        "dim": ("8i8", 16),
        "pixdim": ("8f8", 104),
        "vox_offset": ("i8", 168),
        "scl_slope": ("f8", 176),
        "scl_inter": ("f8", 184),
        "qform_code": ("i4", 344),
        "sform_code": ("i4", 348),
        "quatern": ("3f8", 352),
        "qoffset": ("3f8", 376),
        "srow": ("(3,4)f8", 400),
        "xyzt_units": ("i4", 500),
        "intent": ("i4", 504),
    },
}
_ANALYZE = {
    "dim": ("8i2", 40),
    "datatype": ("i2", 70),
    "pixdim": ("8f4", 76),
    "vox_offset": ("f4", 108),
    "scl_slope": ("f4", 112),  # SPM's; unused and 0 in other files
    "orient": ("u1", 252),
    "origin": ("3i2", 253),  # SPM's
    "magic": ("S4", 344),
}
DATATYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_SPM_DATATYPES = {130: "i1", 132: "u2", 136: "u4"}
_REFUSED = {1: "single bits", 1536: "128-bit floats", **dict.fromkeys((32, 1792, 2048), "complex numbers")}
COLOURS = {128: 3, 2304: 4}
"""Datatypes whose voxels are several bytes, red, green, blue (and alpha), side by side."""
_VECTORS = {1006, 1007, 2003, 2004}
"""Intents of images whose fifth axis holds the parts of one voxel: displacements, vectors, RGB, RGBA."""
_LONGEST_AXIS = 1 << 31


class HeaderError(ValueError):
    """The bytes are not a NIfTI header, or one that means no image; the message does not name the file."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a NIfTI header says, checked to describe an image.

    Attributes:
        shape: Voxels along the spatial axes, 2 or 3 of them.
        volumes: Voxels along the fourth (or fifth ...) axis; 1 where there is none.
        colours: Bytes that make up one voxel of a colour image; 1 otherwise.
        dtype: How a voxel is stored, byte order included.
        offset: The byte at which the voxels begin.
        slope, inter: stored * slope + inter is the intensity; (1, 0) where nothing is to be scaled.
        affine: From voxel indices to RAS millimetres; None where no usable one is given.
        source: Where the affine comes from: `sform`, `qform`, `voxel sizes` or `analyze`.
        warnings: Pairs of (code, sentence).
        fault: Why there is no affine, as one sentence.
        pair: The voxels are in a second file, `.img`.
    """

    shape: tuple[int, ...]
    volumes: int
    colours: int
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    affine: Array | None
    source: str
    code: int
    warnings: tuple[tuple[str, str], ...]
    fault: str
    pair: bool

    @property
    def voxel_bytes(self) -> int:
        """The length of the voxels in the file, in bytes."""
        return math.prod(self.shape, start=self.dtype.itemsize * self.colours * self.volumes)


def parse_header(data: bytes, *, analyze: bool = False) -> Header:
    """Read a header from the first bytes of a file.

    Args:
        analyze: A header without NIfTI's magic is taken for Analyze 7.5; the file's name must say so.

    Raises:
        HeaderError: They are not a NIfTI header, or one that means no image.
    """
    raw = _fields(data, analyze)
    shape, volumes = _shape(raw["dim"], int(raw["intent"]))
    datatype = int(raw["datatype"])
    if datatype in COLOURS and volumes > 1:
        raise HeaderError(f"it has {volumes} volumes of colour, which is not read")
    dtype = _dtype(datatype, "origin" in raw).newbyteorder(raw["order"])
    pair = raw["magic"].startswith(b"ni")
    offset = float(raw["vox_offset"])
    lowest = 0 if pair else raw["size"]
    if not (offset == 0 or lowest <= offset < 1 << 40):
        raise HeaderError(f"its voxels are said to begin at byte {offset:g}, inside the header or nowhere")
    slope, inter = _scaling(float(raw["scl_slope"]), float(raw["scl_inter"]))
    affine, source, code, warnings, fault = affine_of(raw, shape)
    if offset == 0 and not pair:
        text = "its header does not say where its voxels begin; they are taken to follow the header"
        warnings = (*warnings, ("no-offset", text))
    return Header(
        shape=shape,
        volumes=volumes,
        colours=COLOURS.get(datatype, 1),
        dtype=dtype,
        offset=int(offset) or (0 if pair else raw["size"] + 4),
        slope=1.0 if datatype in COLOURS else slope,
        inter=0.0 if datatype in COLOURS else inter,
        affine=affine,
        source=source,
        code=code,
        warnings=warnings,
        fault=fault,
        pair=pair,
    )


def _dtype(datatype: int, spm: bool) -> np.dtype[Any]:
    if datatype in COLOURS:
        return np.dtype("u1")
    known = DATATYPES | _SPM_DATATYPES if spm else DATATYPES
    if datatype not in known:
        what = f" ({_REFUSED[datatype]})" if datatype in _REFUSED else ""
        raise HeaderError(f"its voxels are of NIfTI datatype {datatype}{what}; integers, floats and RGB are read")
    return np.dtype(known[datatype])


def _fields(data: bytes, analyze: bool) -> dict[str, Any]:
    """The raw fields, with `size` (of the header) and `order` (of its bytes) beside them."""
    if len(data) < NIFTI1:
        raise HeaderError(f"it ends after {len(data)} bytes, inside the header" if data else "it is empty")
    for order in "<>":
        size = int(np.frombuffer(data, f"{order}i4", 1)[0])
        if size not in _FIELDS or len(data) < size:
            continue
        record = _record(data, _FIELDS[size], order, size)
        at = 344 if size == NIFTI1 else 4
        known = data[at : at + 4] in ((b"n+1\0", b"ni1\0") if size == NIFTI1 else (b"n+2\0", b"ni2\0"))
        if not known and not (analyze and size == NIFTI1):
            raise HeaderError("it has no NIfTI magic (Analyze 7.5 images are read from their .hdr file)")
        if not known:
            record = _record(data, _ANALYZE, order, size) | {"magic": b"ni1", "intent": 0, "scl_inter": 0.0}
        return record | {"size": size, "order": order}
    raise HeaderError("it does not begin with a NIfTI header")


def _record(data: bytes, fields: dict[str, tuple[str, int]], order: str, size: int) -> dict[str, Any]:
    layout = np.dtype(
        {
            "names": list(fields),
            "formats": [_format(form, order) for form, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": size,
        }
    )
    record = np.frombuffer(data, layout, 1)[0]
    return {name: record[name] for name in fields}


def _format(form: str, order: str) -> Any:
    """A format such as `8i2` in this byte order, its count apart: numpy parses counts in strings by `ast`, which
    Python 3.11 must not do in several threads at once (CPython issue 106905)."""
    count, kind = form[:-2].strip("()"), order + form[-2:]
    return (kind, tuple(map(int, count.split(",")))) if count else kind


def _shape(dim: Array, intent: int) -> tuple[tuple[int, ...], int]:
    """The spatial shape, and the number of volumes.

    A vector image (fifth axis) whose third and fourth axes are 1 has two axes, as SimpleITK writes and reads it.
    """
    axes = int(dim[0])
    if not 1 <= axes <= 7:
        raise HeaderError(f"its header says that it has {axes} axes; NIfTI allows 1 to 7")
    sizes = [int(n) for n in dim[1 : axes + 1]]
    if any(not 0 < n < _LONGEST_AXIS for n in sizes):
        raise HeaderError(f"its header gives the shape {tuple(sizes)}, which no image has")
    if axes == 1:
        raise HeaderError(f"it has one axis of {sizes[0]} values and is not an image")
    several = [n for n in sizes[3:] if n > 1]
    if len(several) > 1:
        raise HeaderError(f"it has the shape {tuple(sizes)}; at most one axis beyond the third may be longer than 1")
    flat = intent in _VECTORS and axes == 5 and sizes[2:4] == [1, 1] and sizes[4] > 1
    return tuple(sizes[: 2 if flat else 3]), several[0] if several else 1


def _scaling(slope: float, inter: float) -> tuple[float, float]:
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(inter):
        raise HeaderError("the intercept of its intensities is not a finite number")
    return slope, inter
