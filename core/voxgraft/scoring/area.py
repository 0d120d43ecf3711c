"""Surfaces by area: distances between surface elements that lie at the corners of voxels, each with its size.

This is the definition of Nikolov et al. (arXiv 1809.04430) as DeepMind's package surface-distance computes it: at every
corner between eight voxels (four, in 2D images) that are not all inside or all outside lies an element; its
size is that of the triangles (segments) which marching cubes (squares) would draw there. The table of triangles in
`triangles.csv` is that package's (Copyright 2018 Google Inc., Apache License 2.0), in eighths of a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from .surface import REACH, SurfaceDistances, distances_between


def area_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks that hold at least one voxel each, with the size of each element.

    Args:
        prediction: Boolean, shape (i, j[, k]), with a margin of one voxel that is outside.
        reference: The same shape.
        spacing: Millimetres along each axis.
    """
    sizes = _sizes(tuple(float(step) for step in spacing))
    full = len(sizes) - 1
    pads = tuple(min(REACH, n) for n in prediction.shape)
    codes = [_codes(mask) for mask in (prediction, reference)]
    borders = [np.pad((code > 0) & (code < full), [(pad, pad) for pad in pads]).view(np.uint8) for code in codes]
    distances = distances_between(borders[0], borders[1], tuple(spacing), pads)[1]
    areas = [sizes[code[(code > 0) & (code < full)]] for code in codes]
    return SurfaceDistances(distances.prediction, distances.reference, *areas)


def _codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """At each corner between voxels a bit for each voxel around it that is inside, the last voxel's bit lowest."""
    codes = np.zeros(tuple(n - 1 for n in mask.shape), np.uint8)
    corners = np.ndindex(*(2,) * mask.ndim)
    for bit, corner in enumerate(reversed(list(corners))):
        part = mask[tuple(slice(at, n - 1 + at) for at, n in zip(corner, mask.shape, strict=True))]
        codes |= part.view(np.uint8) << bit
    return codes


@lru_cache(maxsize=32)
def _sizes(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """The size of the surface in each of the 256 (16) neighbourhoods, in mm2 (mm)."""
    if len(spacing) == 2:
        return _lengths(*spacing)
    normals = _triangles() * np.array([spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]])
    return np.asarray(np.sqrt((normals**2).sum(-1)).sum(-1))


def _lengths(first: float, second: float) -> NDArray[np.float64]:
    """By the bits of (0, 0), (0, 1), (1, 0), (1, 1), highest first: a straight piece, a corner cut, or two of them."""
    diagonal = 0.5 * float(np.hypot(first, second))
    lengths = np.full(16, diagonal)
    lengths[[0b0000, 0b1111]] = 0.0
    lengths[[0b0011, 0b1100]] = second
    lengths[[0b0101, 0b1010]] = first
    lengths[[0b0110, 0b1001]] = 2 * diagonal
    return lengths


@lru_cache(maxsize=1)
def _triangles() -> NDArray[np.float64]:
    """The normals of the triangles in each neighbourhood, as long as the triangle is large: shape (256, 4, 3)."""
    rows = files(__package__).joinpath("triangles.csv").read_text(encoding="ascii").splitlines()
    table = np.zeros((256, 12))
    for code, row in enumerate(row for row in rows if not row.startswith("#")):
        numbers = [int(number) for number in row.split(",")]
        table[code, : len(numbers)] = numbers
    return table.reshape(256, 4, 3) / 8.0
