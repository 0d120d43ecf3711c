"""Outlines of a mask along the edges of its voxels: polygons that enclose exactly the area of the voxels inside.

A corner (x, y) stands for the corner of voxels at index (x - 0.5, y - 0.5): voxel (i, j) reaches from (i, j) to
(i + 1, j + 1). Outlines run round voxels that share an edge; voxels that touch at a corner only have outlines of
their own, so that no outline crosses itself.
"""

from __future__ import annotations

import numpy as np

from voxgraft.plugin import Array


def outlines(mask: Array) -> list[tuple[Array, bool]]:
    """The outlines of a slice.

    Source of the method: a rectilinear polygon is given by its corners; along each grid line, corners pair up in order
    to the edges of the polygon.

    Args:
        mask: Bool (i, j).

    Returns:
        For each outline its corners (n, 2) in order, whole numbers, and whether it is the outline of a hole.
    """
    pad = np.pad(mask.astype(np.int8), 1)
    a, b, c, d = pad[:-1, :-1], pad[1:, :-1], pad[:-1, 1:], pad[1:, 1:]  # the four voxels that meet at a corner
    x, y, twin = _corners(a, b, c, d)
    if not len(x):
        return []
    count = len(x)
    rows = np.lexsort((twin, x, y))  # pairs along lines of one y
    falling = (a & d & ~b & ~c)[x, y] == 1
    columns = np.lexsort((np.where(falling, twin, -twin), y, x))  # pairs along lines of one x
    across, along = np.empty(count, np.intp), np.empty(count, np.intp)
    for partner, order in ((across, rows), (along, columns)):
        partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    starts = np.empty(count, bool)  # whether the edge along x leaves from this corner
    first, second = rows[0::2], rows[1::2]
    below = pad[x[first] + 1, y[first] + 1] == 1  # the voxel on the side of larger y lies inside
    starts[first], starts[second] = below, ~below
    return _loops(np.where(starts, across, along), x, y)


def _corners(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array]:
    """Where outlines turn; a place where two voxels touch at a corner only counts twice, as twins 0 and 1."""
    count = a + b + c + d
    crossing = ((a == d) & (b == c) & (a != b)).nonzero()
    turn = ((count == 1) | (count == 3)).nonzero()
    x = np.concatenate([turn[0], crossing[0], crossing[0]])
    y = np.concatenate([turn[1], crossing[1], crossing[1]])
    zeros = np.zeros(len(turn[0]) + len(crossing[0]), np.int8)
    return x, y, np.concatenate([zeros, np.ones(len(crossing[0]), np.int8)])


def _loops(following: Array, x: Array, y: Array) -> list[tuple[Array, bool]]:
    """Follow the corners round; outlines of holes run the other way and have a negative area."""
    step, seen, loops = following.tolist(), bytearray(len(x)), []
    for start in range(len(step)):
        if seen[start]:
            continue
        corners, corner = [], start
        while not seen[corner]:
            seen[corner] = 1
            corners.append(corner)
            corner = step[corner]
        polygon = np.stack([x[corners], y[corners]], axis=1)
        loops.append((polygon, area_of(polygon) < 0))
    return loops


def area_of(polygon: Array) -> float:
    """The signed area of a polygon (n, 2), positive for one that runs from x to y."""
    x, y = polygon[:, 0].astype(np.float64), polygon[:, 1].astype(np.float64)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def keyholes(loops: list[tuple[Array, bool]]) -> list[Array]:
    """Join each hole to the outline around it by a channel without width, there and back along the same line.

    Holes are taken from small x to large x; from its first corner a hole's channel goes towards smaller x until it
    meets an outline, which by then has every hole in it that lies further that way.
    """
    outer = [polygon for polygon, hole in loops if not hole]
    holes = sorted((_from_first(polygon) for polygon, hole in loops if hole), key=lambda polygon: tuple(polygon[0]))
    if not holes:
        return outer
    low, high = (np.array([end(polygon, axis=0) for polygon in outer]) for end in (np.min, np.max))
    for hole in holes:
        x, y = (int(value) for value in hole[0])
        around = np.flatnonzero((low < hole.min(axis=0)).all(axis=1) & (high > hole.max(axis=0)).all(axis=1))
        met = [(*crossing, int(number)) for number in around if (crossing := _met(outer[number], x, y)) is not None]
        meeting, edge, number = max(met)
        gate = np.array([[meeting, y]], dtype=hole.dtype)
        channel = [outer[number][: edge + 1], gate, hole, hole[:1], gate, outer[number][edge + 1 :]]
        outer[number] = np.concatenate(channel)
    return outer


def _from_first(polygon: Array) -> Array:
    """The polygon from its corner of smallest x, and of those the smallest y."""
    return np.roll(polygon, -int(np.lexsort((polygon[:, 1], polygon[:, 0]))[0]), axis=0)


def _met(polygon: Array, x: int, y: int) -> tuple[int, int] | None:
    """The largest x below `x` at which an edge of the polygon meets the line of `y`, and the number of that edge."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    upright = (start[:, 0] == end[:, 0]) & (start[:, 0] < x)
    upright &= (np.minimum(start[:, 1], end[:, 1]) <= y) & (np.maximum(start[:, 1], end[:, 1]) >= y)
    edges = np.flatnonzero(upright)
    if not len(edges):
        return None
    edge = int(edges[start[edges, 0].argmax()])
    return int(start[edge, 0]), edge
