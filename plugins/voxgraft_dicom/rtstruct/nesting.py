"""How the contours of one structure on one slice lie to each other: which are one outline drawn again, which lie inside
which.

It is judged from the outlines themselves, in millimetres, not from the voxels they enclose: so neither the order of
contours nor where their lists of points begin, nor their direction, nor the last digits of their coordinates matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxgraft.plugin import Array

CLOSE = 0.1
"""Millimetres: outlines no further from each other than this, and than half a voxel, are one outline."""

STEP = 0.25
"""How far apart, in voxels, points of an outline are looked at between its corners."""

PAIRS = 1 << 20
"""Pairs of points and edges that are worked on together."""


def levels(polygons: Sequence[Array], spacing: Sequence[float]) -> list[list[Array]]:
    """Contours by how often they are nested: those inside none, those inside one of these, and so on.

    A contour lies inside another where no part of it leaves that one's area; a contour of the same outline is on its
    level. Contours whose outlines cross are not inside each other.

    Args:
        polygons: Corners (n, 2) in voxel coordinates.
        spacing: Millimetres from voxel to voxel along both axes.
    """
    scale = np.asarray(spacing, dtype=np.float64)
    tolerance, step = min(CLOSE, 0.5 * float(scale.min())), STEP * float(scale.min())
    groups = _groups(polygons, scale, tolerance, step)
    groups.sort(key=lambda group: -area(group[0] * scale))
    outlines = [group[0] * scale for group in groups]
    boxes = _boxes(outlines)
    depths: list[int] = []
    for number, outline in enumerate(outlines):
        larger = np.flatnonzero(_within(boxes[number], boxes[:number], tolerance)).tolist()
        around = [depths[other] for other in larger if inside(outline, outlines[other], tolerance, step)]
        depths.append(1 + max(around, default=-1))
    nested: list[list[Array]] = [[] for _ in range(1 + max(depths, default=-1))]
    for depth, (_, members) in zip(depths, groups, strict=True):
        nested[depth] += members
    return nested


def _groups(polygons: Sequence[Array], scale: Array, tolerance: float, step: float) -> list[tuple[Array, list[Array]]]:
    """Contours of one outline together, each with the one that stands for them."""
    if len(polygons) < 2:
        return [(polygon, [polygon]) for polygon in polygons]
    distinct = [polygon for _, polygon in sorted({_canonical(polygon): polygon for polygon in polygons}.items())]
    outlines = [polygon * scale for polygon in distinct]
    boxes = _boxes(outlines)
    free = np.ones(len(distinct), bool)
    groups = []
    for number, outline in enumerate(outlines):
        if not free[number]:
            continue
        alike = free & (np.abs(boxes - boxes[number]) <= tolerance).all(axis=(1, 2))
        alike[: number + 1] = False
        same = [
            other
            for other in np.flatnonzero(alike).tolist()
            if inside(outline, outlines[other], tolerance, step) and inside(outlines[other], outline, tolerance, step)
        ]
        free[same] = False
        groups.append((distinct[number], [distinct[other] for other in (number, *same)]))
    return groups


def _boxes(outlines: Sequence[Array]) -> Array:
    """The least and the greatest coordinates of outlines, (outline, 2, 2)."""
    return np.array([(outline.min(axis=0), outline.max(axis=0)) for outline in outlines]).reshape(-1, 2, 2)


def _within(box: Array, boxes: Array, tolerance: float) -> Array:
    """Which boxes hold a box but for a rim."""
    held: Array = ((box[0] >= boxes[:, 0] - tolerance) & (box[1] <= boxes[:, 1] + tolerance)).all(axis=1)
    return held


def _canonical(polygon: Array) -> tuple[tuple[float, float], ...]:
    """The corners from the smallest on, in the direction of a positive area: the same for any start and direction."""
    points = np.round(polygon, 6) + 0.0
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)] if len(points) > 1 else points
    both = []
    for ordered in (points, points[::-1]):
        least = int(np.lexsort((ordered[:, 1], ordered[:, 0]))[0]) if len(ordered) else 0
        both.append(tuple(map(tuple, np.roll(ordered, -least, axis=0).tolist())))
    return min(both)


def area(polygon: Array) -> float:
    """The area that a polygon (n, 2) encloses; 0 for one that crosses itself in equal parts."""
    x, y = (polygon - polygon[0]).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def inside(polygon: Array, other: Array, tolerance: float, step: float) -> bool:
    """Whether the area of a polygon lies inside that of another, but for a rim of `tolerance`.

    Args:
        polygon, other: Corners (n, 2) in millimetres; areas by the even-odd rule.
        tolerance: Millimetres by which an outline may lie outside.
        step: The distance of points at which the outlines are looked at.
    """
    points, _ = _along(polygon, step)
    if _farther(points[~_contains(other, points)], other, tolerance):
        return False
    # What the other leaves out must not lie inside this one: a hole that is joined to its outline, or a bay.
    points, across = _along(other, step)
    near = ((points >= polygon.min(axis=0)) & (points <= polygon.max(axis=0))).all(axis=1)
    samples = np.concatenate([points[near] + sign * 0.1 * tolerance * across[near] for sign in (-1, 1)])
    samples = samples[~_contains(other, samples)]
    return not _farther(samples[_contains(polygon, samples)], polygon, tolerance)


def _along(polygon: Array, step: float) -> tuple[Array, Array]:
    """Points along an outline, none further from the next than `step`, and the unit vector across it at each."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.linalg.norm(edges, axis=1)
    kept = lengths > 0
    start, edges, lengths = polygon[kept], edges[kept], lengths[kept]
    many = np.maximum(1, np.ceil(lengths / step)).astype(np.int64)
    edge = np.repeat(np.arange(len(many)), many)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(many) - many, many)) / many[edge]
    across = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / lengths[:, None]
    return start[edge] + share[:, None] * edges[edge], across[edge]


def _contains(polygon: Array, points: Array) -> Array:
    """Which points lie inside a polygon by the even-odd rule."""
    x0, y0 = polygon.T
    x1, y1 = np.roll(polygon, -1, axis=0).T
    inside = np.zeros(len(points), bool)
    for part in _parts(len(points), len(polygon)):
        x, y = points[part, 0, None], points[part, 1, None]
        crosses = (y0 <= y) != (y1 <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
        inside[part] = (crosses & (x < at)).sum(axis=1) & 1
    return inside


def _farther(points: Array, polygon: Array, distance: float) -> bool:
    """Whether one of the points lies further than `distance` from the outline of a polygon."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    squares = np.maximum((edges**2).sum(axis=1), np.finfo(np.float64).tiny)
    for part in _parts(len(points), len(polygon)):
        offset = points[part, None] - polygon
        share = np.clip((offset * edges).sum(axis=2) / squares, 0, 1)
        apart = offset - share[:, :, None] * edges
        if ((apart**2).sum(axis=2).min(axis=1) > distance**2).any():
            return True
    return False


def _parts(points: int, edges: int) -> list[slice]:
    """Pieces of an array of points, each with at most `PAIRS` pairs of a point and an edge."""
    size = max(1, PAIRS // max(1, edges))
    return [slice(start, start + size) for start in range(0, points, size)]
