"""One pass over the voxels of a mask: how large each structure is, in how many parts, and whether it is cut off."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np

from ..imaging.structures import Labels, box_of
from ..imaging.volume import Array
from .record import Mask, Structure
from .sides import pairs

CHUNK = 1 << 22
FACES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
"""The two ends of each axis in RAS order."""


def measure_mask(array: Array, dims: int, labels: Labels | None) -> Mask:
    """Look at a mask as `read_mask` gives it, with its axes in RAS order.

    Args:
        array: A label map (i, j[, k]) of whole numbers from 0 to 65535, or 0 and 1 for each structure
            (structure, i, j[, k]).
    """
    array = array if array.dtype == np.uint8 else array.astype(np.uint16)  # no byte orders or signs from here on
    ignored = labels.ignored if labels is not None else None
    mask = Mask(size=int(np.prod(array.shape[-dims:])))
    maps = [array] if array.ndim == dims else list(array)
    values = [0] if array.ndim == dims or labels is None else list(labels.values)
    anywhere = np.zeros(array.shape[-dims:], bool) if len(maps) > 1 else None
    total = hashlib.sha256(str(array.shape).encode())
    sided = {value for pair in pairs(labels) for value in pair}
    for value, channel in zip(values, maps, strict=True):
        flat = channel.ravel(order="K")
        for start in range(0, flat.size, CHUNK):
            total.update(flat[start : start + CHUNK].astype(np.uint16).data)
        if ignored is not None and (channel == ignored).any():
            mask.ignored = int((channel == ignored).sum())
            channel = np.where(channel == ignored, 0, channel)
        structures = _structures(channel, sided if not value else {1} if value in sided else set())
        mask.structures.update({value: structures[1]} if value and 1 in structures else structures if not value else {})
        if anywhere is not None:
            anywhere |= channel != 0
    shown = anywhere if anywhere is not None else maps[0]
    mask.covered = int(np.count_nonzero(shown)) - (mask.ignored if anywhere is None else 0)
    mask.rim = _rim(shown)
    mask.content = total.hexdigest()
    return mask


def _structures(array: Array, sided: set[int]) -> dict[int, Structure]:
    """The structures of a label map by their values; how far across those lie that are named after a side."""
    import cc3d

    box = box_of(array)
    if box is None:
        return {}
    inside = np.array(array[box], order="F")  # cc3d takes no array that is read-only, as those that steps share are
    pieces = cc3d.connected_components(inside, connectivity=26 if array.ndim == 3 else 8)
    flat, values = pieces.ravel(order="F"), inside.ravel(order="F")
    sizes = np.bincount(flat)
    of_piece = np.zeros(len(sizes), np.int64)
    of_piece[flat] = values
    structures = {}
    for value in np.unique(of_piece[1:]).tolist():
        own = sizes[1:][of_piece[1:] == value]
        structures[value] = Structure(int(own.sum()), len(own), int(own.min()))
    if array.ndim == 3:
        for value in sided & structures.keys():
            along = np.flatnonzero((inside == value).any(axis=(1, 2)))
            structures[value].across = float(box[0].start + (along[0] + along[-1]) / 2)
        for axis, names in enumerate(FACES):
            for end, name in zip((0, -1), names, strict=True):
                for value in np.unique(_face(array, axis, end)).tolist():
                    if value:
                        structures[value].faces = (*structures[value].faces, name)
    return structures


def _face(array: Array, axis: int, end: int) -> Array:
    """The outermost voxels at one end of an axis, a view."""
    face: Array = array[(slice(None),) * axis + (end,)]
    return face


def _rim(array: Array) -> float:
    faces = [_face(array, axis, end) for axis, end in product(range(array.ndim), (0, -1)) if array.shape[axis] > 2]
    return float(np.mean([np.count_nonzero(face) / face.size for face in faces])) if faces else 0.0
