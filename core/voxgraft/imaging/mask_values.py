"""The values of a mask in the type that files store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from .structures import Labels
    from .volume import Array


def mask_values(array: Array, labels: Labels, target: Path) -> Array:
    """A mask as uint8, or uint16 where one of its values or of the labels is above 255: what a writer stores.

    Args:
        array: Whole numbers or bool, of any shape.
        target: The file that is written, for messages.

    Raises:
        DataError: It holds no whole numbers, or others than 0 to 65535.
    """
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype.kind not in "iu":
        raise DataError(f"{target}: a mask holds whole numbers, this one is of type {array.dtype}")
    lowest, highest = 0, max(labels.values, default=0)
    if array.size and array.dtype != np.uint8:
        lowest, highest = int(array.min()), max(int(array.max()), highest)
    if lowest < 0 or highest > 65535:
        wrong = lowest if lowest < 0 else highest
        raise DataError(f"{target}: a mask holds values from 0 to 65535, this one has {wrong}")
    return array.astype(np.uint8 if highest < 256 else np.uint16, copy=False)
