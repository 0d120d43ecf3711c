"""The masks of a case's structures, cropped to where they are; each box is found once for all metrics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .confusion import Integers

Box = tuple[slice, ...]


class Crops:
    """Cuts boolean masks of single structures out of a predicted and a reference label array of one shape.

    Args:
        values: The values that will be asked for.
    """

    def __init__(self, prediction: Integers, reference: Integers, values: Sequence[int]) -> None:
        self._arrays = tuple(_numbers(array) for array in (prediction, reference))
        self._highest = max(values)

    def masks(self, *values: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The masks (prediction, reference) of what has any of these values, with a margin of one voxel."""
        box = _union([boxes[value - 1] for boxes in self._boxes for value in values])
        prediction, reference = (self._cut(array, box, values) for array in self._arrays)
        return prediction, reference

    @cached_property
    def _boxes(self) -> list[list[Box | None]]:
        """For both arrays the box of each value from 1 on; None where the value is not there."""
        from scipy.ndimage import find_objects

        return [find_objects(array, max_label=self._highest) for array in self._arrays]

    def _cut(self, array: NDArray[Any], box: Box | None, values: Sequence[int]) -> NDArray[np.bool_]:
        """The margin is made here, not cut out: a structure may touch the border of the image."""
        if box is None:
            inside = np.zeros((0,) * array.ndim, np.bool_)
        elif len(values) == 1:
            inside = array[box] == values[0]
        else:
            inside = np.isin(array[box], values)
        mask = np.zeros(tuple(n + 2 for n in inside.shape), np.bool_)
        mask[(slice(1, -1),) * array.ndim] = inside
        return mask


def _numbers(array: Integers) -> NDArray[Any]:
    return array.view(np.uint8) if array.dtype == np.bool_ else array


def _union(boxes: Sequence[Box | None]) -> Box | None:
    present = [box for box in boxes if box is not None]
    if not present:
        return None
    return tuple(
        slice(min(part.start for part in axis), max(part.stop for part in axis)) for axis in zip(*present, strict=True)
    )
