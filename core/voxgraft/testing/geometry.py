"""Volumes of known content and geometry: the ways in which a scan can lie in space."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np

from ..imaging.volume import Array, Volume

SPACING = (0.7, 0.9, 2.5)
ORIGIN = (-31.5, 12.25, 87.0)


def orientations() -> Iterator[tuple[str, Array]]:
    """The 24 right-handed ways to lay the axes of a volume along those of a patient, and the 24 left-handed ones.

    Each with its name, such as `LPS`: the directions in which i, j and k grow.
    """
    names = np.array([["L", "R"], ["P", "A"], ["I", "S"]])
    for order in permutations(range(3)):
        for signs in product((-1, 1), repeat=3):
            matrix = np.zeros((3, 3))
            for index, (axis, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[axis, index] = sign
            name = "".join(str(names[axis, int(sign > 0)]) for axis, sign in zip(order, signs, strict=True))
            yield name, matrix


def right_handed() -> list[tuple[str, Array]]:
    """The 24 orientations that a rotation leads to, as every DICOM series has one in LPS and in RAS alike."""
    return [(name, matrix) for name, matrix in orientations() if np.linalg.det(matrix) > 0]


def affine(directions: Array, spacing: tuple[float, ...] = SPACING, origin: tuple[float, ...] = ORIGIN) -> Array:
    """4x4, from voxel indices to RAS millimetres.

    Args:
        directions: 3x3, a unit column for each index in RAS.
        spacing: Millimetres along each index.
        origin: The first voxel's centre, RAS millimetres.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = directions @ np.diag(spacing)
    matrix[:3, 3] = origin
    return matrix


def oblique(degrees: tuple[float, float, float] = (17.0, -23.0, 8.0)) -> Array:
    """A rotation about all three axes."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        i, j = [index for index in range(3) if index != axis]
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    return turn


def image(directions: Array, shape: tuple[int, ...] = (11, 9, 7), dtype: str = "int16") -> Volume:
    """A volume in which every voxel has a value of its own, so that no flip or transposition goes unseen.

    Args:
        directions: 3x3, a unit column for each index in RAS.
        shape: Voxels along each index.
        dtype: Of the voxels; it must hold as many values as there are voxels.
    """
    count = int(np.prod(shape))
    array = np.arange(count).reshape(shape).astype(dtype)
    return Volume(array, affine(directions))


def flat(directions: Array, shape: tuple[int, int] = (13, 9)) -> Volume:
    """An image of two axes, all of whose pixels differ; its third axis in space follows from the affine alone."""
    array = (np.arange(shape[0] * shape[1]).reshape(shape) % 251).astype(np.uint8)
    return Volume(array, affine(directions), dims=2)


def mask(like: Volume, values: tuple[int, ...] = (1, 2)) -> Volume:
    """A mask of boxes without symmetry, one for each value, in the grid of a volume."""
    array = np.zeros(like.shape, np.uint8 if max(values, default=0) < 256 else np.uint16)
    for number, value in enumerate(values):
        low = [1 + number, 1, 1][: like.dims]
        high = [min(n - 1, low[axis] + 3 - axis + number) for axis, n in enumerate(like.shape)]
        array[tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high, strict=True))] = value
        array[(low[0], min(low[1] + 4, like.shape[1] - 1), *low[2:])] = value
    return like.with_array(array)
