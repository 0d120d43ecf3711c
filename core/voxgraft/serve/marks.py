"""What a viewer of nnInteractive's protocol says, understood and bounded: lengths, voxels, boxes, marked voxels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.structures import Box
from .engine import Work
from .frames import unpack
from .refused import Refused

LARGEST = 4 * 2**30
"""Bytes of the largest image, unpacked."""

Mark = Callable[[Work], Box | None]


def spacing_of(given: object, shape: Sequence[int]) -> tuple[float, ...]:
    """Millimetres along each axis of the array; 1 where the client says none.

    Raises:
        Refused: 400, they are not lengths, or not one for each axis.
    """
    if given is None:
        return (1.0,) * len(shape)
    try:
        spacing = tuple(float(number) for number in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        spacing = ()
    if len(spacing) != len(shape) or not all(math.isfinite(step) and 1e-6 < step < 1e4 for step in spacing):
        raise Refused(400, f"the spacing must be {len(shape)} lengths in millimetres, one for each axis of the array")
    return spacing


def index_of(given: object, shape: Sequence[int]) -> tuple[int, ...]:
    """The voxel that a client names.

    Raises:
        Refused: 400, it is none, or lies outside the image.
    """
    try:
        place = tuple(math.floor(float(number) + 0.5) for number in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        place = ()
    if len(place) != len(shape):
        raise Refused(400, f"a point has {len(shape)} coordinates")
    if any(not 0 <= i < n for i, n in zip(place, shape, strict=True)):
        raise Refused(400, f"the point {list(place)} lies outside the image of {list(shape)} voxels")
    return place


def box_of(given: object, shape: Sequence[int], *, whole: bool = False) -> Box:
    """The box that a client names as half-open intervals, cut to the image.

    Args:
        given: What the client sent.
        shape: Of the image.
        whole: It must lie in the image as it is, with whole numbers.

    Raises:
        Refused: 400, it is none, is empty, or lies outside the image.
    """
    try:
        ends = [(float(low), float(high)) for low, high in given]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        ends = []
    if len(ends) != len(shape) or not all(math.isfinite(end) for pair in ends for end in pair):
        raise Refused(400, f"a box has {len(shape)} pairs of numbers")
    exact = [(math.floor(min(pair)), math.ceil(max(pair))) for pair in ends]
    cut = [(max(0, low), min(n, high)) for (low, high), n in zip(exact, shape, strict=True)]
    if any(low >= high for low, high in cut) or (whole and cut != ends):
        raise Refused(400, f"the box {exact} is empty or lies outside the image of {list(shape)} voxels")
    return tuple(slice(low, high) for low, high in cut)


def marked_in(data: bytes, given: object, shape: Sequence[int]) -> tuple[Box, NDArray[np.bool_]]:
    """The voxels that a client marked, and the box in which they lie.

    Args:
        data: The array that was sent.
        given: The box that the client names for it; None where the array is of the whole image.
        shape: Of the image.

    Raises:
        Refused: 400, array, box and image do not fit each other; 413, the array is too large.
    """
    box = tuple(slice(0, n) for n in shape) if given is None else box_of(given, shape, whole=True)
    sizes = [part.stop - part.start for part in box]
    marked = unpack(data, LARGEST, sizes) != 0
    if given is None and marked.any():
        box = tuple(
            slice(int(line[0]), int(line[-1]) + 1)
            for line in (np.flatnonzero(marked.any(tuple(a for a in range(3) if a != axis))) for axis in range(3))
        )
        marked = marked[box]
    return box, marked


def mark_of(kind: str, body: Mapping[str, Any], data: bytes, shape: Sequence[int]) -> Mark:
    """What a request asks to be marked.

    Args:
        kind: `point`, `bbox`, `scribble`, `lasso` or `initial_seg`.
        body: The JSON of the request, or of its header where an array is sent.
        data: The array.
        shape: Of the image.

    Raises:
        Refused: 400, it cannot be understood, or does not lie in the image.
    """
    if kind == "initial_seg":
        mask = unpack(data, LARGEST, shape) != 0
        return lambda work: work.start_from(mask)
    add = body.get("include_interaction")
    if not isinstance(add, bool):
        raise Refused(400, "include_interaction must be true or false")
    if kind == "point":
        index = index_of(body.get("coordinates"), shape)
        return lambda work: work.point(index, add)
    if kind == "bbox":
        box = box_of(body.get("bbox_coords"), shape)
        return lambda work: work.box(box, add)
    box, marked = marked_in(data, body.get("interaction_bbox"), shape)
    if kind == "scribble":
        return lambda work: work.scribble(box, marked, add)
    return lambda work: work.lasso(box, marked, add)
