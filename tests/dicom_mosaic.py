"""Siemens mosaics of known geometry, written for tests: the slices side by side, their places in private headers."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_series import LPS_OF_RAS, make_series


def csa(tags: Mapping[str, Sequence[float]]) -> bytes:
    """A CSA header of the second kind with these tags, as nibabel and others read it."""
    parts = [b"SV10\4\3\2\1", struct.pack("<2I", len(tags), 77)]
    for name, values in tags.items():
        items = [f"{value:.8f}".encode() + b"\0" for value in values]
        parts.append(struct.pack("<64si4s3i", name.encode(), len(items), b"FD\0\0", 4, len(items), 77))
        for item in items:
            parts += [struct.pack("<4i", len(item), len(item), 77, len(item)), item + b"\0" * (-len(item) % 4)]
    return b"".join(parts)


def protocol(centres: np.ndarray[Any, Any]) -> bytes:
    """The part of a series header that gives the centre of each slice, (slice, 3) in LPS millimetres."""
    lines = ["### ASCCONV BEGIN ###"]
    for number, centre in enumerate(centres):
        for axis, value in zip(("Sag", "Cor", "Tra"), centre, strict=True):
            if abs(value) > 1e-9:
                lines.append(f"sSliceArray.asSlice[{number}].sPosition.d{axis} = {value:.9f}")
    lines += [f"sSliceArray.lSize = {len(centres)}", "### ASCCONV END ###"]
    return "\n".join(lines).encode()


def make_mosaic(
    folder: Path,
    array: np.ndarray[Any, Any],
    affine: np.ndarray[Any, Any],
    *,
    headers: Sequence[str] = ("image", "series"),
    edit: Callable[[int, Dataset], None] | None = None,
    **changes: Any,
) -> list[Path]:
    """Write a mosaic for each volume of `array` (volume, i, j, k).

    Args:
        headers: Which private headers to write, of the image (0029,1010) and of the series (0029,1020).
        edit: Called with (volume, dataset).
    """
    count = array.shape[3]
    across = math.ceil(math.sqrt(count))
    columns, rows = array.shape[1:3]
    tiles = np.zeros((across * columns, across * rows, len(array)), array.dtype)
    for k in range(count):
        i, j = k % across * columns, k // across * rows
        tiles[i : i + columns, j : j + rows] = array[:, :, :, k].transpose(1, 2, 0)
    lps = LPS_OF_RAS @ np.asarray(affine, dtype=np.float64)
    step = float(np.linalg.norm(lps[:3, 2]))
    middle = lps[:3, :2] @ [columns / 2, rows / 2] + lps[:3, 3]
    corner = middle - lps[:3, :2] @ [across * columns / 2, across * rows / 2]

    def put(volume: int, mosaic: Dataset) -> None:
        mosaic.ImagePositionPatient = [round(float(v), 6) for v in corner]
        mosaic.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        mosaic.SpacingBetweenSlices = step
        block = mosaic.private_block(0x29, "SIEMENS CSA HEADER", create=True)
        if "image" in headers:
            tags = {"NumberOfImagesInMosaic": [count], "SliceNormalVector": lps[:3, 2] / step}
            block.add_new(0x10, "OB", csa(tags) + b"\0" * (len(csa(tags)) % 2))
        if "series" in headers:
            text = protocol(middle + np.arange(count)[:, None] * lps[:3, 2])
            block.add_new(0x20, "OB", text + b"\0" * (len(text) % 2))
        if edit is not None:
            edit(volume, mosaic)

    return make_series(folder, tiles, affine, edit=put, **{"Modality": "MR", **changes})
