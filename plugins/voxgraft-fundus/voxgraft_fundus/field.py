"""The round field of view of a fundus camera, found by the black border around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHARE = 0.12
"""Of the way from the border's brightness to the retina's, from which on a pixel is retina: DRIVE's darkest rims are
at 0.2, the noise of its borders at 0.05."""

BLACK = 0.25
"""Of the retina's brightness; a darkest corner that is brighter is not a black border."""

SMALLEST, LARGEST = 0.2, 0.97
"""The share of a picture that a field of view has; a disc in a square has 0.785. More than that is a photograph without
border, less no photograph of a retina."""


def find_field(picture: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where a photograph (channel, i, j) shows the retina: bool (i, j); None where it has no border or shows none.

    The brightest channel is smoothed and cut between the brightness of the corners and that of the retina; of what is
    left the largest part counts, its holes filled: dark vessels and lesions are inside.
    """
    bright = ndimage.median_filter(_finite(picture).max(axis=0), 5)
    border, retina = _corners(bright), float(np.percentile(bright, 75))
    if not border < BLACK * retina:
        return None
    inside = bright > border + SHARE * (retina - border)
    inside = ndimage.binary_opening(inside, iterations=2)
    parts, number = ndimage.label(inside)
    if number == 0:
        return None
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    field: NDArray[np.bool_] = ndimage.binary_fill_holes(largest)
    return field if SMALLEST <= field.mean() <= LARGEST else None


def _finite(picture: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.nan_to_num(picture.astype(np.float32), posinf=0.0, neginf=0.0)


def _corners(bright: NDArray[np.float32]) -> float:
    """The brightness of the darkest corner: scanners cut the disc off at some sides, or write a mark into a corner."""
    rows, columns = (max(1, n // 32) for n in bright.shape)
    ends = [(slice(rows), slice(-rows, None)), (slice(columns), slice(-columns, None))]
    return min(float(np.median(bright[row, column])) for row in ends[0] for column in ends[1])
