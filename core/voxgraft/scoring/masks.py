"""Masks as arrays of whole numbers, in grids that have been compared."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..volume import Volume, millimetres_apart
from .confusion import Integers, count

def label_array(volume: Volume, name: str) -> Integers:
    """The labels of a mask, shape (i, j[, k]); whole numbers that are stored as fractions are accepted.

    Args:
        name: What it is called in messages: `prediction` or `reference`.

    Raises:
        DataError: It has several channels, or holds fractions.
    """
    if volume.channels != 1:
        raise DataError(f"the {name} has {volume.channels} channels; a mask has one, with a value for each structure")
    array = volume.array.reshape(volume.shape)
    if array.dtype.kind in "bui":
        return array
    if array.dtype.kind != "f":
        raise DataError(f"the {name} holds values of type {array.dtype}; a mask holds whole numbers")
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.int32)
    if not (labels == array).all():
        raise DataError(f"the {name} holds values that are no whole numbers; is it an image or a map of probabilities?")
    return labels


def check_grids(prediction: Volume, reference: Volume) -> None:
    """Refuse two masks that do not lie on one grid.

    Grids count as equal where no corner is further apart than 1 % of the smallest spacing, or 0.01 mm.

    Raises:
        DataError: They differ; the message says by how much.
    """
    if prediction.shape != reference.shape:
        found, wanted = ("x".join(map(str, volume.shape)) for volume in (prediction, reference))
        raise DataError(f"the prediction has {found} voxels and the reference {wanted}; {_MEND}")
    apart = millimetres_apart(prediction.affine, reference.affine, reference.shape)
    if apart > max(0.01, 0.01 * min(reference.spacing)):
        raise DataError(f"the grids of prediction and reference lie up to {apart:.3g} mm apart; {_MEND}")


_MEND = "bring the prediction into the reference's grid with `voxgraft convert --reference`"


def values_in(prediction: Volume, reference: Volume) -> tuple[int, ...]:
    """The values other than 0 that stand in two masks of one shape.

    Raises:
        DataError: They cannot be masks.
    """
    return count(label_array(prediction, "prediction"), label_array(reference, "reference")).values
