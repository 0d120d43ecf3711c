"""The NIfTI header: its 348 or 540 bytes, checked, and the affine that they mean.

Layout and rules are those of nifti1.h and nifti2.h (nifti.nimh.nih.gov). The affine follows nibabel: the sform where
its code is above 0, else the qform where its code is above 0, else voxel sizes around the centre of the image with the
first axis running from right to left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from voxgraft.volume import Array, millimetres_apart

NIFTI1, NIFTI2 = 348, 540
HEADER_BYTES = NIFTI2 + 4
_FIELDS = {
    NIFTI1: {
        "dim": ("8i2", 40),
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
    },
}
DATATYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
COLOURS = {128: 3, 2304: 4}
"""Datatypes whose voxels are several bytes, red, green, blue (and alpha), side by side."""
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
_LONGEST_AXIS = 1 << 31


class HeaderError(ValueError):
    """The bytes are no NIfTI header, or one that means no image; the message does not name the file."""


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
        source: Where the affine comes from: `sform`, `qform` or `voxel sizes`.
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
        total = self.dtype.itemsize * self.colours * self.volumes
        for n in self.shape:
            total *= n
        return total


def parse_header(data: bytes) -> Header:
    """Read a header from the first bytes of a file.

    Raises:
        HeaderError: They are no NIfTI header, or one that means no image.
    """
    raw = _fields(data)
    shape, volumes = _shape(raw["dim"])
    datatype = int(raw["datatype"])
    if datatype in COLOURS and volumes > 1:
        raise HeaderError(f"it has {volumes} volumes of colour, which is not read")
    if datatype not in DATATYPES and datatype not in COLOURS:
        raise HeaderError(f"its voxels are of NIfTI datatype {datatype}, which is not read (integers, floats, RGB are)")
    dtype = np.dtype("u1" if datatype in COLOURS else DATATYPES[datatype]).newbyteorder(raw["order"])
    pair = raw["magic"].startswith(b"ni")
    offset = float(raw["vox_offset"])
    lowest = 0 if pair else raw["size"]
    if not (offset == 0 or lowest <= offset < 1 << 40):
        raise HeaderError(f"its voxels are said to begin at byte {offset:g}, inside the header or nowhere")
    slope, inter = _scaling(float(raw["scl_slope"]), float(raw["scl_inter"]))
    affine, source, code, warnings, fault = _affine(raw, shape)
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


def _fields(data: bytes) -> dict[str, Any]:
    """The raw fields, with `size` (of the header) and `order` (of its bytes) beside them."""
    if len(data) < NIFTI1:
        raise HeaderError(f"it ends after {len(data)} bytes, inside the header" if data else "it is empty")
    for order in "<>":
        size = int(np.frombuffer(data, f"{order}i4", 1)[0])
        if size not in _FIELDS or len(data) < size:
            continue
        fields = _FIELDS[size]
        layout = np.dtype(
            {
                "names": list(fields),
                "formats": [f"{shape}{order}{kind}" for shape, kind in map(_split, (f for f, _ in fields.values()))],
                "offsets": [offset for _, offset in fields.values()],
                "itemsize": size,
            }
        )
        record = np.frombuffer(data, layout, 1)[0]
        magic = bytes(record["magic"])
        if magic[:3] not in ((b"n+1", b"ni1") if size == NIFTI1 else (b"n+2", b"ni2")):
            raise HeaderError(
                "it has no NIfTI magic (an Analyze 7.5 header says nothing of orientation and is not read)"
            )
        return {name: record[name] for name in fields} | {"size": size, "order": order, "magic": magic}
    raise HeaderError("it does not begin with a NIfTI header")


def _split(form: str) -> tuple[str, str]:
    """Part a numpy format such as `8i2` into its shape and its kind."""
    return form[:-2], form[-2:]


def _shape(dim: Array) -> tuple[tuple[int, ...], int]:
    """The spatial shape, and the number of volumes."""
    axes = int(dim[0])
    if not 1 <= axes <= 7:
        raise HeaderError(f"its header says that it has {axes} axes; NIfTI allows 1 to 7")
    sizes = [int(n) for n in dim[1 : axes + 1]]
    if any(not 0 < n < _LONGEST_AXIS for n in sizes):
        raise HeaderError(f"its header gives the shape {tuple(sizes)}, which no image has")
    if axes == 1:
        raise HeaderError(f"it has one axis of {sizes[0]} values and is no image")
    several = [n for n in sizes[3:] if n > 1]
    if len(several) > 1:
        raise HeaderError(f"it has the shape {tuple(sizes)}; at most one axis beyond the third may be longer than 1")
    return tuple(sizes[:3]), several[0] if several else 1


def _scaling(slope: float, inter: float) -> tuple[float, float]:
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(inter):
        raise HeaderError("the intercept of its intensities is not a finite number")
    return slope, inter


def _affine(
    raw: dict[str, Any], shape: tuple[int, ...]
) -> tuple[Array | None, str, int, tuple[tuple[str, str], ...], str]:
    """The affine, where it comes from and its code, what to warn of, and what is wrong with it."""
    warnings: list[tuple[str, str]] = []
    qcode, scode = int(raw["qform_code"]), int(raw["sform_code"])
    if scode > 0:
        affine, source, code = _sform(raw), "sform", scode
    elif qcode > 0:
        affine, source, code = _qform(raw), "qform", qcode
    else:
        affine, source, code = _from_sizes(raw, shape), "voxel sizes", 0
        text = "its header says nothing of orientation; the axes are taken to run to the left, to the front and upwards"
        warnings.append(("no-orientation", text))
    if not np.isfinite(affine).all():
        return None, source, code, (), f"the affine of its {source} holds values that are not finite numbers"
    if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        return None, source, code, (), f"the affine of its {source} is singular: its axes do not span space"
    if scode > 0 and qcode > 0:
        qform = _qform(raw)
        apart = millimetres_apart(affine, qform, shape) if np.isfinite(qform).all() else None
        if apart is None or apart > max(0.1, 0.05 * float(np.sqrt((affine[:3, :3] ** 2).sum(0)).min())):
            by = "is damaged" if apart is None else f"lies up to {apart:.3g} mm off"
            warnings.append(("sform-qform", f"its sform is used; its qform {by}"))
    unit = _MILLIMETRES.get(int(raw["xyzt_units"]) & 7, 1.0)
    if unit != 1.0:
        affine = np.diag([unit, unit, unit, 1.0]) @ affine
        name = "metres" if unit > 1 else "micrometres"
        warnings.append(("units", f"its lengths are in {name} and were turned into millimetres"))
    return affine, source, code, tuple(warnings), ""


def _sform(raw: dict[str, Any]) -> Array:
    affine = np.eye(4)
    affine[:3] = raw["srow"]
    if int(raw["dim"][0]) == 2 and not affine[:3, 2].any():  # a flat image needs no third axis, an affine does
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] /= np.sqrt((affine[:3, 2] ** 2).sum()) or 1.0
    return affine


def _qform(raw: dict[str, Any]) -> Array:
    """The affine of a unit quaternion, voxel sizes and an offset; the sign in pixdim[0] turns the third axis round."""
    affine = np.full((4, 4), np.nan)
    b, c, d = (float(v) for v in raw["quatern"])
    rest = 1.0 - (b * b + c * c + d * d)
    if not rest > -1e-5:
        return affine
    a = np.sqrt(max(rest, 0.0))
    norm = np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / norm, b / norm, c / norm, d / norm
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64))
    sizes[2] *= -1.0 if float(raw["pixdim"][0]) == -1.0 else 1.0
    affine[:3, :3] = rotation * sizes
    affine[:3, 3] = raw["qoffset"]
    affine[3] = [0, 0, 0, 1]
    return affine


def _from_sizes(raw: dict[str, Any], shape: tuple[int, ...]) -> Array:
    sizes = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64))
    if len(shape) == 2:
        sizes[2] = 1.0
    sizes[0] *= -1.0
    middle = (np.array((*shape, 1)[:3], dtype=np.float64) - 1) / 2
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = -sizes * middle
    return affine
