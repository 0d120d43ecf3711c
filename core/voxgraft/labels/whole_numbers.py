"""The values of masks as whole numbers, whatever type a program stored them in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import BadImage
from ..imaging.volume import Array, Problem, Volume
from .label_map import HIGHEST

NEARLY = 1e-3
"""By how much a label that is held as a float may differ from a whole number."""


def integer_mask(volume: Volume, name: object) -> Volume:
    """A mask whose values are integers; bool becomes uint8.

    Fractions within a thousandth of a whole number are that number. Labels that were stored as whole numbers with a
    scale (the scl_slope of NIfTI, which nibabel makes of labels held as floats) are rounded where each stored number
    comes back by the same rule; a note says so.

    Raises:
        BadImage: They are not whole numbers.
    """
    array, scaling = volume.array, volume.item.scaling if volume.item is not None else None
    if array.dtype.kind == "f" and scaling is not None and _scaled_labels(array, *scaling):
        text = f"its labels were stored with a scale (slope {scaling[0]:.4g}) and were rounded to whole numbers again"
        assert volume.item is not None
        item = replace(volume.item, problems=(*volume.item.problems, Problem("scaled-labels", text, "repair")))
        return Volume(np.rint(array).astype(np.int32), volume.affine, dims=volume.dims, item=item)
    try:
        return volume.with_array(whole_numbers(array, name))
    except BadImage as error:
        if scaling is None:
            raise
        message = (
            f"{error.reason}: it was saved as whole numbers with a scale (slope {scaling[0]:.4g}); save it without"
        )
        raise BadImage(name, message) from None


def _scaled_labels(array: Array, slope: float, intercept: float) -> bool:
    """Whether values that a scale made of stored numbers are labels: of each stored number one label, and back."""
    values = np.unique(array).astype(np.float64)
    if not np.isfinite(values).all() or not 0 < abs(slope) <= 1 or len(values) > HIGHEST:
        return False
    labels = np.rint(values)
    if np.abs(values - labels).max() <= NEARLY:
        return False
    stored = np.rint((values - intercept) / slope)
    return bool(labels.min() >= 0 and np.array_equal(np.rint((labels - intercept) / slope), stored))


def whole_numbers(array: Array, name: object) -> Array:
    """Label values as integers; bool becomes uint8.

    Raises:
        BadImage: They are none.
    """
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind != "f":
        raise BadImage(name, f"the label holds values of type {array.dtype}, which are not whole numbers")
    rounded = np.rint(array)
    if not np.isfinite(array).all() or np.abs(array - rounded).max(initial=0.0) > NEARLY:
        raise BadImage(name, "the label holds values that are not whole numbers")
    if np.abs(rounded).max(initial=0.0) > 2**31 - 1:
        raise BadImage(name, f"the label holds values beyond {HIGHEST}, the largest there may be")
    return rounded.astype(np.int32)
