"""The proof that written contours enclose the mask: the file, read back and filled, against the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, BadImage, DataError, Volume

from ..objects.segments import Segments
from .objects import read_structure_set
from .options import RtstructReaderOptions
from .reader import RtstructReader


def prove(path: Path, segments: Segments, mask: Volume, names: tuple[str, ...]) -> None:
    """Read written contours back, fill them and compare every voxel: none may differ.

    Args:
        path: The file that was written.
        segments: The voxels of each structure.
        mask: The mask that was to be written.
        names: Of the structures, in the order of their numbers.

    Raises:
        DataError: A structure has other voxels; the message says how many, and how far its middle lies off.
    """
    reader = RtstructReader(RtstructReaderOptions(tolerance=0.05))
    try:
        regions = {region.number: region for region in read_structure_set(path).regions}
        for number, name in enumerate(names, start=1):
            filled = reader.filled(regions[number], path, mask)
            for k in range(segments.slices):
                if segments.found[number - 1, k] or filled[:, :, k].any():
                    expected = segments.plane(number, k).T
                    if not np.array_equal(filled[:, :, k], expected):
                        raise DataError(_difference(filled, segments, number, name, mask.affine))
    except (BadImage, KeyError) as error:
        reason = error.reason if isinstance(error, BadImage) else "a structure is missing"
        raise DataError(f"the written contours do not lie on the mask: {reason}") from None


def _difference(filled: Array, segments: Segments, number: int, name: str, affine: Array) -> str:
    expected = np.stack([segments.plane(number, k).T for k in range(segments.slices)], axis=2)
    apart = float(np.linalg.norm(_middle(filled, affine) - _middle(expected, affine)))
    counts = f"{np.count_nonzero(filled)} voxels, the mask has {np.count_nonzero(expected)}"
    return f"the written contours of {name!r} enclose {counts}, and lie {apart:.2f} mm beside the mask"


def _middle(mask: Array, affine: Array) -> Array:
    index = np.argwhere(mask).mean(axis=0) if mask.any() else np.zeros(3)
    return np.asarray(affine[:3, :3] @ index + affine[:3, 3])
