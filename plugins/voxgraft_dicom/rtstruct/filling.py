"""Filling contours: which voxels of a slice lie inside polygons of any kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxgraft.plugin import Array

from .nesting import levels

NEAR = 1e-2
"""In voxels: a centre no further from a contour counts as lying on it, for many programs round to 0.01 mm."""

CROSSINGS = 1 << 20
"""Crossings of edges and lines that are worked on together."""


def filled(polygon: Array, shape: tuple[int, int]) -> tuple[Array, Array, tuple[int, int]]:
    """The voxels whose centres lie inside a polygon by the even-odd rule, and those whose centres lie on it.

    Args:
        polygon: Corners (n, 2) in voxel coordinates (x, y) of a slice; voxel (i, j) has its centre at (i, j).
        shape: The size of the slice; what lies beyond it is cut off.

    Returns:
        Two bool arrays of the polygon's bounding box inside the slice, and the place (i, j) of that box.
    """
    low = np.maximum(np.ceil(polygon.min(axis=0) - NEAR), 0).astype(np.int64)
    high = np.minimum(np.floor(polygon.max(axis=0) + NEAR), np.array(shape) - 1).astype(np.int64)
    size = np.maximum(high - low + 1, 0)
    inside, on = np.zeros(size, bool), np.zeros(size, bool)
    start = (int(low[0]), int(low[1]))
    if not inside.size:
        return inside, on, start
    local = polygon - low
    x0, y0 = local.T
    x1, y1 = np.roll(local, -1, axis=0).T
    _cross(inside, on, x0, y0, x1, y1)
    _touch(on, x0, y0, x1, y1)
    return inside & ~on, on, start


def _cross(inside: Array, on: Array, x0: Array, y0: Array, x1: Array, y1: Array) -> None:
    """Mark what lies between crossings of each line of voxel centres along x with the edges, and the crossings."""
    width, height = inside.shape
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1)), 0, height).astype(
        np.int64
    )  # a half-open range: each corner counts once
    counts = last - first
    ends = np.cumsum(counts)
    flips = np.zeros((width + 1, height), np.int32)
    for part in np.split(np.arange(len(x0)), np.searchsorted(ends, np.arange(CROSSINGS, ends[-1], CROSSINGS))):
        many = counts[part]
        edges = np.repeat(part, many)
        lines = first[edges] + np.arange(len(edges)) - np.repeat(np.cumsum(many) - many, many)
        share = (lines - y0[edges]) / (y1[edges] - y0[edges])
        across = x0[edges] + share * (x1[edges] - x0[edges])
        nearest = np.rint(across)
        hits = (np.abs(across - nearest) <= NEAR) & (nearest >= 0) & (nearest < width)
        on[nearest[hits].astype(np.int64), lines[hits]] = True
        np.add.at(flips, (np.clip(np.ceil(across), 0, width).astype(np.int64), lines), 1)
    inside |= (np.cumsum(flips[:width], axis=0) & 1).astype(bool)


def _touch(on: Array, x0: Array, y0: Array, x1: Array, y1: Array) -> None:
    """Mark the centres that corners and edges along x lie on."""
    width, height = on.shape
    line = np.rint(y0)
    level = (np.abs(y0 - line) <= NEAR) & (line >= 0) & (line < height)
    along = level & (np.abs(y1 - line) <= NEAR)
    for index in np.flatnonzero(along):
        left, right = sorted((x0[index], x1[index]))
        first, last = max(int(np.ceil(left - NEAR)), 0), min(int(np.floor(right + NEAR)), width - 1)
        on[first : last + 1, int(line[index])] = True
    corner = np.rint(x0)
    level &= (np.abs(x0 - corner) <= NEAR) & (corner >= 0) & (corner < width)
    on[corner[level].astype(np.int64), line[level].astype(np.int64)] = True


def combined(
    polygons: Sequence[tuple[Array, bool]],
    shape: tuple[int, int],
    boundary: bool,
    spacing: Sequence[float] = (1.0, 1.0),
) -> Array:
    """The voxels inside the contours of one structure in one slice.

    Contours on the same outline count once. One that lies inside another is a hole in it, one inside that hole an
    island, and so on; contours whose outlines cross are joined, two holes to one hole as well. Contours that are marked
    for it (CLOSEDPLANAR_XOR, PS3.3, C.8.8.6.3) are combined with the rest and with each other by exclusive or. The
    order of contours does not matter.

    Args:
        polygons: Corners (n, 2) in voxel coordinates, and whether the contour is to be combined by exclusive or.
        boundary: Whether voxels count whose centres lie on a contour.
        spacing: Millimetres from voxel to voxel along both axes of the slice.
    """
    mask = np.zeros(shape, bool)
    rims = np.zeros(shape, bool)
    for depth, level in enumerate(levels([polygon for polygon, exclusive in polygons if not exclusive], spacing)):
        joined = np.zeros(shape, bool)
        for polygon in level:
            window, inside = _window(polygon, shape, rims)
            joined[window] |= inside
        mask = mask & ~joined if depth % 2 else mask | joined
    for polygon, exclusive in polygons:
        if exclusive:
            window, inside = _window(polygon, shape, rims)
            mask[window] ^= inside
    return mask | rims if boundary else mask & ~rims


def _window(polygon: Array, shape: tuple[int, int], rims: Array) -> tuple[tuple[slice, slice], Array]:
    """Where a contour lies in a slice and what is inside it there; the centres that lie on it are put into `rims`."""
    inside, on, (i, j) = filled(polygon, shape)
    window = (slice(i, i + inside.shape[0]), slice(j, j + inside.shape[1]))
    rims[window] |= on
    return window, inside
