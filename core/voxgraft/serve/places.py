"""Where the axes of a viewer's array run: known of a scan that lies among the data, else as `--axes` says.

nnInteractive's protocol carries voxels and spacing, no directions. A model that was trained on left and right sees a
scan wrongly unless they are known.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, VoxGraftError
from ..imaging.volume import Volume, checked_affine, spacing_of
from .refused import Refused

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from .datastore import Datastore

USUAL = "SPL"
"""Where the axes of 3D Slicer's and MITK's arrays run for an axial scan: up, to the back, to the left."""
LOOKING = 20.0
"""Seconds in which a scan is looked for among the data."""
ALIKE = 1e-3
"""By what share spacings of one scan may differ between a viewer and its file."""

_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


class Places:
    """Knows where arrays lie.

    Args:
        axes: Three letters, such as `SPL`: towards which side of the patient each axis of an array runs.
        data: The scans among which one may be; None where there are none.

    Raises:
        UsageError: The letters are none.
    """

    def __init__(self, axes: str = USUAL, data: Datastore | None = None) -> None:
        self.axes, self.data = axes.upper(), data
        planes = [_DIRECTIONS[letter][0] for letter in self.axes if letter in _DIRECTIONS]
        if sorted(planes) != [0, 1, 2]:
            raise UsageError(f"--axes {axes}: write three letters, one each of R or L, A or P, S or I, such as {USUAL}")

    def affine(
        self, array: NDArray[Any], spacing: Sequence[float], stated: object, catalogue: Catalogue
    ) -> NDArray[np.float64]:
        """From indices of the array (channel left out) to RAS millimetres.

        Args:
            array: Voxels (channel, *axes).
            spacing: Millimetres along its axes.
            stated: What the client says itself; None where it says nothing, as viewers do.
            catalogue: Reads the scans that are looked at.

        Raises:
            Refused: 400, what the client says is not an affine, or belongs to another spacing.
        """
        if stated is not None:
            return _stated(stated, spacing)
        if self.data is not None and len(array) == 1:
            for known in self._alike(array[0], spacing, catalogue):
                return known
        affine = np.zeros((4, 4))
        for axis, letter in enumerate(self.axes):
            row, sign = _DIRECTIONS[letter]
            affine[row, axis] = sign * spacing[axis]
        affine[3, 3] = 1.0
        return affine

    def _alike(
        self, array: NDArray[Any], spacing: Sequence[float], catalogue: Catalogue
    ) -> Iterator[NDArray[np.float64]]:
        """The affines of scans that have just these voxels, in the order of axes of the array."""
        assert self.data is not None
        until = time.monotonic() + LOOKING
        for image, order in self.data.shaped(array.shape, spacing, ALIKE):
            if time.monotonic() > until:
                return
            try:
                volume = self.data.read(image, catalogue)
            except (VoxGraftError, Refused):
                continue
            turned = _turned(volume, order)
            if turned.array.shape == array.shape and _same(turned.array, array):
                yield turned.affine


def _turned(volume: Volume, order: tuple[int, ...]) -> Volume:
    affine = volume.affine.copy()
    affine[:, :3] = volume.affine[:, list(order)]
    return Volume(volume.array.reshape(volume.shape).transpose(order), affine, dims=3)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays hold the same numbers, in whatever type; a few voxels tell most that differ."""
    few = tuple(slice(None, None, max(1, n // 7)) for n in one.shape)
    for part in (few, ...):
        if not np.array_equal(one[part].astype(np.float32), other[part].astype(np.float32), equal_nan=True):
            return False
    return True


def _stated(stated: object, spacing: Sequence[float]) -> NDArray[np.float64]:
    try:
        affine = checked_affine(np.asarray(stated, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise Refused(400, f"the affine in image_properties is not valid: {error}") from None
    if any(abs(a - b) > ALIKE * b for a, b in zip(spacing_of(affine), spacing, strict=True)):
        raise Refused(400, "the affine in image_properties has another spacing than the one beside it")
    return affine
