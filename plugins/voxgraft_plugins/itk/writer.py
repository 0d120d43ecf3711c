"""The writers of NRRD and MetaImage: one file, compressed, geometry in LPS as ITK and 3D Slicer write it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from voxgraft.plugin import Array, DataError, Options, Volume, mask_values

from .header import LPS
from .metaimage import DTYPES
from .nrrd import TYPES

if TYPE_CHECKING:
    from voxgraft.plugin import Labels

_NRRD = {code: names[-1].removesuffix("_t") for code, names in TYPES.items()}
_META = {code: name for name, code in DTYPES.items()}


class ItkWriterOptions(Options):
    """Options of the writers; their readers have none: a file is read as it is."""

    level: Annotated[int, Ge(0), Le(3)] = 1
    """Compression level, from 0 (fastest) to 3 (smallest)."""


class NrrdWriter:
    """Writes `.nrrd`; a mask with labels carries them as the segments of 3D Slicer."""

    def __init__(self, options: ItkWriterOptions) -> None:
        self._level = options.level

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write a volume as it stands; channels lie beside each other.

        Raises:
            DataError: NRRD has no type for its voxels, or they are not a mask.
        """
        array = _values(volume.array, labels, target)
        several = volume.channels > 1
        lps = LPS @ volume.affine[:3]
        # ITK reads an image of two axes only in a plane of two axes; one that is turned in space has three.
        flat = volume.dims == 2 and np.array_equal(lps[2], [0, 0, 1, 0]) and not lps[:2, 2].any()
        lps = lps[:2] if flat else lps
        steps = [*(["none"] if several else []), *(_vector(step) for step in lps.T[: volume.dims])]
        lines = [
            "NRRD0004",
            f"type: {_NRRD[array.dtype.str[1:]]}",
            f"dimension: {volume.dims + several}",
            "space dimension: 2" if flat else "space: left-posterior-superior",
            f"sizes: {' '.join(map(str, (*([volume.channels] if several else []), *volume.shape)))}",
            f"space directions: {' '.join(steps)}",
            f"kinds: {' '.join((['vector'] if several else []) + ['domain'] * volume.dims)}",
            "endian: little",
            "encoding: gzip",
            f"space origin: {_vector(lps[:, 3])}",
            *(_segments(labels, volume) if labels is not None and not several else ()),
        ]
        packed = _packed(array, volume.dims, self._level, 31)
        target.write_bytes("\n".join(lines).encode() + b"\n\n" + packed)


class MetaImageWriter:
    """Writes `.mha`."""

    def __init__(self, options: ItkWriterOptions) -> None:
        self._level = options.level

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write a volume as it stands; channels lie beside each other.

        Raises:
            DataError: MetaImage has no type for its voxels, they are not a mask, or it lies in space as none can.
        """
        array = _values(volume.array, labels, target)
        dims = volume.dims
        lps = LPS @ volume.affine[:3]
        if dims == 2 and max(np.abs(lps[2, :2]).max(), abs(lps[2, 3])) > 1e-9:
            raise DataError(f"{target}: a picture with a place in space fits no MetaImage of two axes; write NIfTI")
        spacing = np.array(volume.spacing)
        packed = _packed(array, dims, self._level, 15)
        lines = {
            "ObjectType": "Image",
            "NDims": dims,
            "BinaryData": True,
            "BinaryDataByteOrderMSB": False,
            "CompressedData": True,
            "CompressedDataSize": len(packed),
            "TransformMatrix": _row((lps[:dims, :dims] / spacing).T.ravel()),
            "Offset": _row(lps[:dims, 3]),
            "CenterOfRotation": _row(np.zeros(dims)),
            "ElementSpacing": _row(spacing),
            "DimSize": " ".join(map(str, volume.shape)),
            **({"ElementNumberOfChannels": volume.channels} if volume.channels > 1 else {}),
            "ElementType": _META[array.dtype.str[1:]],
            "ElementDataFile": "LOCAL",
        }
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        target.write_bytes(text.encode() + packed)


def _values(array: Array, labels: Labels | None, target: Path) -> Array:
    """Voxels in a type of the format; masks as uint8 or uint16."""
    if labels is not None:
        array = mask_values(array, labels, target)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise DataError(f"{target}: voxels of type {array.dtype} have no place in this format")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _packed(array: Array, dims: int, level: int, wbits: int) -> bytes:
    """The voxels, i fastest but for channels, which lie beside each other, as one stream."""
    from isal import isal_zlib

    rows = array.reshape((-1, *array.shape[-dims:])) if array.ndim > dims else array
    if array.ndim > dims and len(rows) > 1:
        rows = rows.transpose(0, *range(rows.ndim - 1, 0, -1))
        ordered = np.ascontiguousarray(np.moveaxis(rows, 0, -1))
    else:
        ordered = np.ascontiguousarray(array.reshape(array.shape[-dims:]).T)
    deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, wbits)
    return bytes(deflate.compress(ordered.reshape(-1).view(np.uint8).data) + deflate.flush())


def _segments(labels: Labels, volume: Volume) -> list[str]:
    """The keys by which 3D Slicer knows a segmentation and its segments."""
    extent = " ".join(f"0 {n - 1}" for n in (*volume.shape, 1)[:3])
    lines = ["Segmentation_MasterRepresentation:=Binary labelmap", "Segmentation_ReferenceImageExtentOffset:=0 0 0"]
    for number, label in enumerate(labels.items):
        colour = " ".join(f"{part:.3f}" for part in _colour(number))
        name = " ".join(label.name.split())
        rows: dict[str, Any] = {
            "ID": f"Segment_{label.value}",
            "Name": name,
            "NameAutoGenerated": 0,
            "Color": colour,
            "LabelValue": label.value,
            "Layer": 0,
            "Extent": extent,
        }
        lines += [f"Segment{number}_{key}:={value}" for key, value in rows.items()]
    return lines


def _colour(number: int) -> tuple[float, float, float]:
    """Colours that lie far apart, the same ones each time."""
    from colorsys import hsv_to_rgb

    return hsv_to_rgb((number * 0.618034) % 1.0, 0.65, 0.95)


def _vector(values: Array) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def _row(values: Array) -> str:
    return " ".join(repr(float(value)) for value in values)
