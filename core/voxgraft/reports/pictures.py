"""The slice of a case in which most voxels are wrong, with the contours of reference and prediction.

Slices are shown as radiologists look at them: the patient's right on the left (sagittal: the front on the left), front
or head up.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.orientation import reoriented
from ..imaging.volume import Array, Volume
from .display import BACKGROUND, display_window, grey_of, shown_axis

if TYPE_CHECKING:
    from ..preprocessing.modality import Modality

REFERENCE, PREDICTION = (64, 196, 255), (255, 140, 40)
LONGER = 420
"""Pixels of the longer side."""
AROUND, LEAST = 12.0, 0.35
"""What is shown around the masks: millimetres, and at least this part of the image along each axis."""


def worst_slice(
    prediction: Volume, reference: Volume, scan: Volume | None = None, modality: Modality | None = None
) -> bytes:
    """A PNG of the slice with most wrong voxels; without a scan the masks alone.

    Args:
        prediction: Label map, or 0 and 1 of shape (structure, i, j[, k]).
        reference: The same, in the same grid.
        scan: The image, of which the first channel is shown.
        modality: Says which intensities are black and white; without one the 1st and 99th percentile are.
    """
    found, wanted = (_labels(reoriented(volume)[0]) for volume in (prediction, reference))
    spacing = reoriented(reference)[0].spacing
    image = None
    if scan is not None:
        turned = reoriented(scan)[0]
        image = turned.array.reshape(turned.channels, *turned.shape)[0]
    window = (0.0, 1.0) if image is None else display_window(image, modality)
    if found.ndim == 3:
        axis = shown_axis(spacing)
        wrong = np.count_nonzero(found != wanted, axis=tuple(a for a in range(3) if a != axis))
        there = np.count_nonzero(wanted, axis=tuple(a for a in range(3) if a != axis))
        index = int(wrong.argmax()) if wrong.any() else int(there.argmax())
        found, wanted = (np.moveaxis(array, axis, 0)[index] for array in (found, wanted))
        image = None if image is None else np.moveaxis(image, axis, 0)[index]
        spacing = tuple(step for a, step in enumerate(spacing) if a != axis)
    box = _shown(found, wanted, spacing)
    grey = None if image is None else grey_of(image[box], window)
    return _drawn(found[box], wanted[box], grey, spacing)


def _labels(volume: Volume) -> Array:
    """Label map; of overlapping structures each combination has a value of its own."""
    array = volume.array.reshape(volume.channels, *volume.shape)
    if len(array) == 1:
        return np.asarray(array[0])
    weights = 2 ** (np.arange(len(array)) % 60)
    return np.asarray(np.tensordot(weights, array.astype(np.int64), 1))


def _shown(found: Array, wanted: Array, spacing: tuple[float, ...]) -> tuple[slice, ...]:
    """What is shown of a plane: the masks, some millimetres around them, and not too little."""
    box = []
    for axis, (step, length) in enumerate(zip(spacing, found.shape, strict=True)):
        there = np.flatnonzero(((found != 0) | (wanted != 0)).any(axis=1 - axis))
        if not len(there):
            return (slice(None), slice(None))
        more = round(AROUND / step)
        missing = max(0, round(LEAST * length) - (int(there[-1] - there[0]) + 1 + 2 * more))
        more += (missing + 1) // 2
        box.append(slice(max(0, int(there[0]) - more), min(length, int(there[-1]) + 1 + more)))
    return tuple(box)


def _drawn(found: Array, wanted: Array, grey: Array | None, spacing: tuple[float, ...]) -> bytes:
    """A plane (first, second axis) as a picture whose pixels are square, both axes turned round."""
    from PIL import Image

    sizes = [n * step for n, step in zip(found.shape, spacing, strict=True)]
    scale = LONGER / max(sizes)
    width, height = (max(8, round(side * scale)) for side in sizes)
    if grey is None:
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[:] = BACKGROUND
    else:
        turned = np.ascontiguousarray(grey[::-1, ::-1].T)
        canvas = np.stack([np.array(Image.fromarray(turned).resize((width, height), Image.Resampling.BICUBIC))] * 3, -1)
    rows = (np.arange(height) * (found.shape[1] / height)).astype(int)
    columns = (np.arange(width) * (found.shape[0] / width)).astype(int)
    for plane, colour, wide in ((wanted, REFERENCE, 4), (found, PREDICTION, 2)):
        large = plane[::-1, ::-1].T[np.ix_(rows, columns)]
        canvas[_outline(large, wide)] = colour
    stream = BytesIO()
    Image.fromarray(canvas).save(stream, "PNG")
    return stream.getvalue()


def _outline(labels: Array, width: int) -> Array:
    """The pixels of structures that are so near to another value; the border of the picture is none."""
    core = labels != 0
    inside = core.copy()
    for axis in (0, 1):
        along, keep = np.moveaxis(labels, axis, 0), np.moveaxis(core, axis, 0)
        same = along[1:] == along[:-1]
        keep[1:] &= same
        keep[:-1] &= same
    for _ in range(width - 1):
        less = core.copy()
        for axis in (0, 1):
            along, keep = np.moveaxis(core, axis, 0), np.moveaxis(less, axis, 0)
            keep[1:] &= along[:-1]
            keep[:-1] &= along[1:]
        core = less
    outline: Array = inside & ~core
    return outline
