"""Siemens mosaics: the slices of a volume side by side in one picture, with their places in private headers.

The picture's stated position is that of a slice as large as the whole picture around the same centre; the order and
the direction of the slices stand in the private CSA header alone. Without it a mosaic is refused: it could be upside
down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from voxgraft.derived.deflated import read_dicom
from voxgraft.derived.forgiving import forgiving

from .frames import Frame
from .header import Header


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
    csa = _csa(header)
    count = header.whole("SiemensMosaicCount") or int(_first(csa, "NumberOfImagesInMosaic"))
    normal = np.array(_numbers(csa, "SliceNormalVector"))
    position, cosines = header.numbers("ImagePositionPatient", 3), header.numbers("ImageOrientationPatient", 6)
    spacing, step = header.numbers("PixelSpacing", 2), header.number("SpacingBetweenSlices", 0.0)
    if position is None or cosines is None or spacing is None or step <= 0:
        raise Unplaced("it does not say where it lies, or how far apart its slices are")
    if count < 1 or normal.shape != (3,):
        raise Unplaced("its private header does not say how many slices there are, or in which direction they run")
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
    places = corner + step * np.arange(count)[:, None] * normal
    return [
        Frame(
            header,
            {
                **header.values,
                "ImagePositionPatient": "\\".join(repr(float(v)) for v in place),
                "Rows": str(tall),
                "Columns": str(wide),
            },
            corner=(index // across * tall, index % across * wide),
        )
        for index, place in enumerate(places)
    ]


def _csa(header: Header) -> Any:
    try:
        with forgiving():
            from nibabel.nicom.csareader import get_csa_header

            csa = get_csa_header(read_dicom(header.path, pixels=False), "image")
    except OSError:
        raise
    except Exception as error:  # nibabel fails in many ways on a damaged private header
        raise Unplaced("its private header cannot be read") from error
    if not csa:
        raise Unplaced("its private header, which alone says how its slices lie, is missing")
    return csa


def _numbers(csa: Any, name: str) -> Sequence[float]:
    items = csa["tags"].get(name, {}).get("items", [])
    try:
        return [float(item) for item in items]
    except (TypeError, ValueError):
        return []


def _first(csa: Any, name: str) -> float:
    numbers = _numbers(csa, name)
    return numbers[0] if numbers else 0.0
