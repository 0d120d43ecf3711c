"""Siemens mosaics: the slices of a volume side by side in one picture, with their places in private headers.

The picture's stated position is that of its first slice, were that as large as the whole picture around the same
centre; the direction in which the slices run stands in the private CSA header alone: in that of the image (0029,1010),
or in the protocol within that of the series (0029,1020), which gives the centre of every slice. Without either a mosaic
is refused: it could be upside down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from voxgraft.plugin import Array

from ..objects.deflated import read_dicom
from ..objects.forgiving import refusing
from .frames import Frame
from .header import Header

SLACK = 0.01
"""The share of the slice spacing by which places in the private header may be off; it rounds to micrometres."""
MOST = 4096
"""Slices that a protocol may name."""
_NUMBER = r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
_POSITION = re.compile(rf"sSliceArray\.asSlice\[([0-9]{{1,5}})\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*({_NUMBER})")
_SIZE = re.compile(r"sSliceArray\.lSize\s*=\s*([0-9]{1,6})\b")


class Unplaced(ValueError):
    """A mosaic whose slices cannot be found or placed for certain; the message says why."""


def is_mosaic(header: Header) -> bool:
    return "MOSAIC" in header.parts("ImageType")


def tiles_of(header: Header) -> list[Frame]:
    """The slices of a mosaic, in the order in which they lie in the picture.

    Raises:
        Unplaced: The private header is missing, or disagrees with the rest.
        OSError: The file cannot be read.
    """
    position, cosines = header.numbers("ImagePositionPatient", 3), header.numbers("ImageOrientationPatient", 6)
    spacing = header.numbers("PixelSpacing", 2)
    if position is None or cosines is None or spacing is None:
        raise Unplaced("it does not say where it lies")
    count, normal, step = _run(header, np.array(position))
    if count < 1 or step <= 0:
        raise Unplaced("it does not say how many slices there are, or how far apart")
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    if abs(abs(normal @ np.cross(row, column)) - 1) > 1e-3:
        raise Unplaced("the direction of its slices in the private header does not fit its orientation")
    across = math.ceil(math.sqrt(count))
    rows, columns = header.whole("Rows"), header.whole("Columns")
    if rows % across or columns % across or rows < across or columns < across:
        raise Unplaced(f"{count} slices do not fit into a picture of {columns}x{rows} pixels")
    tall, wide = rows // across, columns // across
    corner = np.array(position)
    corner += row * spacing[1] * (columns - wide) / 2 + column * spacing[0] * (rows - tall) / 2
    origins = corner + step * np.arange(count)[:, None] * normal
    return [
        Frame(
            header,
            {
                **header.values,
                "ImagePositionPatient": "\\".join(repr(float(v)) for v in origin),
                "Rows": str(tall),
                "Columns": str(wide),
            },
            corner=(index // across * tall, index % across * wide),
        )
        for index, origin in enumerate(origins)
    ]


def _run(header: Header, position: Array) -> tuple[int, Array, float]:
    """The number of slices, the direction from the first to the last, and millimetres between neighbours.

    Raises:
        Unplaced: No private header says so, or it disagrees with the rest.
        OSError: The file cannot be read.
    """
    csa, protocol = _private(header)
    stated = header.whole("SiemensMosaicCount") or int(_first(csa, "NumberOfImagesInMosaic"))
    normal, step = np.array(_numbers(csa, "SliceNormalVector")), header.number("SpacingBetweenSlices", 0.0)
    if normal.shape == (3,):
        return stated, normal, step
    centres = _centres(protocol)
    if len(centres) < 2:
        raise Unplaced("its private header, which alone says how its slices lie, is missing or does not say it")
    if stated and stated != len(centres):
        raise Unplaced(f"its private headers name {stated} and {len(centres)} slices")
    runs = np.diff(centres, axis=0)
    apart = float(np.linalg.norm(runs[0]))
    if apart <= 0 or np.abs(runs - runs[0]).max() > SLACK * apart or (step and abs(step - apart) > SLACK * apart):
        raise Unplaced("the slices of the protocol in its private header are not equally far apart")
    normal = runs[0] / apart
    first, last = (abs(float((position - centre) @ normal)) for centre in (centres[0], centres[-1]))
    if min(first, last) > min(0.1, apart / 4):
        raise Unplaced("its position is not that of the first or the last slice in its private header")
    return len(centres), normal if first < last else -normal, apart


def _private(header: Header) -> tuple[Any, str]:
    """The CSA header of the image as nibabel reads it, {} where there is none, and the text of that of the series."""
    with refusing(Unplaced("its private header cannot be read")):
        from nibabel.nicom.csareader import get_csa_header

        dataset = read_dicom(header.path, pixels=False)
        csa = get_csa_header(dataset, "image") or {}
        block = [element for element in dataset.group_dataset(0x29) if element.tag.element & 0xFF == 0x20]
        series = b"".join(element.value for element in block if isinstance(element.value, bytes))
    return csa, series.decode("latin-1").partition("ASCCONV BEGIN")[2].partition("ASCCONV END")[0]


def _centres(protocol: str) -> Array:
    """The centres of the slices in a Siemens protocol, (slice, 3) in LPS millimetres; a coordinate of 0 is left out."""
    centres: dict[int, dict[str, float]] = {}
    for number, axis, value in _POSITION.findall(protocol):
        centres.setdefault(int(number), {})[axis] = float(value)
    size = int(text.group(1)) if (text := _SIZE.search(protocol)) else 0
    if not 0 < size <= MOST or any(number >= size for number in centres):
        return np.zeros((0, 3))
    return np.array([[centres.get(n, {}).get(axis, 0.0) for axis in ("Sag", "Cor", "Tra")] for n in range(size)])


def _numbers(csa: Any, name: str) -> Sequence[float]:
    items = csa.get("tags", {}).get(name, {}).get("items", [])
    try:
        return [float(item) for item in items]
    except (TypeError, ValueError):
        return []


def _first(csa: Any, name: str) -> float:
    numbers = _numbers(csa, name)
    return numbers[0] if numbers else 0.0
