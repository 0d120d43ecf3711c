"""Surfaces of masks, and the distances between them in millimetres.

The surfaces of all structures of a case are found in one pass over the label arrays. For each surface voxel the other
array is asked at its neighbours, nearest first; only those that find nothing near pay for a k-d tree or a distance
transform.

By area, distances are those between surface elements that lie at the corners of voxels, each with its size. This is the
definition of Nikolov et al. (arXiv 1809.04430) as DeepMind's package surface-distance computes it: at every corner
between eight voxels (four, in 2D images) that are not all inside or all outside lies an element; its size is that of
the triangles (segments) which marching cubes (squares) would draw there. The table of triangles in `triangles.csv` is
that package's (Copyright 2018 Google Inc., Apache License 2.0), in eighths of a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.structures import box_of, union

REACH = 4
"""Neighbours are asked up to so many voxels away along each axis."""
PIECE = 1 << 15
"""Surface voxels that are looked up at a time."""
PATIENCE, WORTH = 40, 150
"""Neighbours that are asked in vain before the search ends: for each voxel, and more for each that found something."""
SLAB = 1 << 18
"""Voxels whose surface is looked for at a time."""
TREE, QUERY, TRANSFORM = 0.1, 1.0, 0.025
"""Microseconds, roughly: a point put into a k-d tree, a point looked up in it, a voxel of a distance transform."""


@dataclass(frozen=True, slots=True)
class SurfaceDistances:
    """How far each element of one surface is from the nearest element of the other.

    Attributes:
        prediction: Millimetres from each surface element of the prediction to the surface of the reference.
        reference: Millimetres from each surface element of the reference to the surface of the prediction.
        prediction_sizes, reference_sizes: The area (in images of two axes: length) of each element, in mm2 (mm); None
            where every element is one voxel and counts alike.
    """

    prediction: NDArray[np.float64]
    reference: NDArray[np.float64]
    prediction_sizes: NDArray[np.float64] | None = None
    reference_sizes: NDArray[np.float64] | None = None


def surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels of a mask that share a face with a voxel outside it; beyond the array is outside."""
    return _surface(mask.view(np.uint8), 0).view(np.bool_)


def surface_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks that hold at least one voxel each.

    Args:
        prediction, reference: Boolean, of one shape (i, j[, k]).
    """
    return label_surface_distances(prediction.view(np.uint8), reference.view(np.uint8), spacing)[1]


def label_surface_distances(
    prediction: NDArray[Any], reference: NDArray[Any], spacing: Sequence[float]
) -> dict[int, SurfaceDistances]:
    """Distances between the surfaces of every structure that is in both label arrays.

    Args:
        prediction, reference: Labels, unsigned, of one shape (i, j[, k]); 0 is background.
    """
    order = sorted(range(reference.ndim), key=lambda axis: -abs(reference.strides[axis]))
    steps = tuple(float(spacing[axis]) for axis in order)
    arrays = [array.transpose(order) for array in (prediction, reference)]
    box = union(*map(box_of, arrays))
    if box is None:
        return {}
    pads = tuple(min(REACH, part.stop - part.start) for part in box)
    found, wanted = (_surface(array[box], pads) for array in arrays)
    return distances_between(found, wanted, steps, pads)


def distances_between(
    found: NDArray[Any], wanted: NDArray[Any], spacing: Sequence[float], pads: Sequence[int]
) -> dict[int, SurfaceDistances]:
    """Distances between the elements of two arrays of labels, by label; 0 is not an element.

    Args:
        found, wanted: Contiguous, of one shape, with so many zeros around them as `pads` says for each axis.
    """
    ours, theirs = _Points.of(found), _Points.of(wanted)
    near = _neighbours(tuple(spacing), tuple(pads), found.shape)
    one, other = _near(ours, wanted, near), _near(theirs, found, near)
    result = {}
    for label in ours.labels:
        here, there = ours.part(label), theirs.part(label)
        if here.start < here.stop and there.start < there.stop:
            both = (ours.places[here], theirs.places[there])
            _far(one[here], *both, found.shape, spacing)
            _far(other[there], *both[::-1], found.shape, spacing)
            result[label] = SurfaceDistances(one[here], other[there])
    return result


@dataclass(frozen=True, slots=True)
class _Points:
    """Elements of a surface, label by label, in each in the order of memory.

    Attributes:
        places: Flat indices into the array.
        bounds: Where the elements of each label begin; shape (highest label + 2,).
    """

    places: NDArray[np.intp]
    kinds: NDArray[Any]
    bounds: NDArray[np.intp]

    @classmethod
    def of(cls, array: NDArray[Any]) -> _Points:
        flat = array.ravel()
        places = np.flatnonzero(flat)
        kinds = flat[places]
        order = np.argsort(kinds, kind="stable")
        numbers = np.bincount(kinds)
        return cls(places[order], kinds[order], np.concatenate([[0], np.cumsum(numbers)]))

    @property
    def labels(self) -> list[int]:
        return [int(label) for label in np.flatnonzero(np.diff(self.bounds))]

    def part(self, label: int) -> slice:
        if label + 1 >= len(self.bounds):
            return slice(0, 0)
        return slice(int(self.bounds[label]), int(self.bounds[label + 1]))


def _surface(labels: NDArray[Any], pads: int | Sequence[int]) -> NDArray[Any]:
    """The labels of voxels that share a face with another label, 0 elsewhere; wider by `pads` at each end."""
    pads = (pads,) * labels.ndim if isinstance(pads, int) else tuple(pads)
    result = np.zeros(tuple(n + 2 * pad for n, pad in zip(labels.shape, pads, strict=True)), labels.dtype)
    inner = result[tuple(slice(pad, pad + n) for pad, n in zip(pads, labels.shape, strict=True))]
    planes = max(1, SLAB // max(1, labels[:1].size))
    for start in range(0, len(labels), planes):
        end = min(start + planes, len(labels))
        here = labels[start:end]
        edge = np.zeros(here.shape, np.bool_)
        edge[1:] |= here[1:] != here[:-1]
        edge[:-1] |= here[1:] != here[:-1]
        edge[0] |= here[0] != labels[start - 1] if start else True
        edge[-1] |= here[-1] != labels[end] if end < len(labels) else True
        for axis in range(1, labels.ndim):
            along, mark = np.moveaxis(here, axis, 0), np.moveaxis(edge, axis, 0)
            change = along[1:] != along[:-1]
            mark[1:] |= change
            mark[:-1] |= change
            mark[0] = True
            mark[-1] = True
        np.multiply(here, edge, out=inner[start:end])
    return result


@lru_cache(maxsize=64)
def _neighbours(
    spacing: tuple[float, ...], pads: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[float, tuple[int, ...]], ...]:
    """Shells of neighbours, nearest first: the distance in millimetres, and the flat offsets of those that far away.

    Only as far as every neighbour at that distance is within the pads.
    """
    axes = [np.arange(-pad, pad + 1) for pad in pads]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    squares = ((offsets * np.asarray(spacing)) ** 2).sum(1)
    limit = min(((pad + 1) * step) ** 2 for pad, step in zip(pads, spacing, strict=True))
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    flat = offsets @ strides
    order = np.argsort(squares, kind="stable")
    order = order[squares[order] < limit * (1 - 1e-9)]
    shells: list[tuple[float, tuple[int, ...]]] = []
    for square, offset in zip(squares[order].tolist(), flat[order].tolist(), strict=True):
        far = square**0.5
        if shells and far - shells[-1][0] <= 1e-9 * far:
            shells[-1] = (shells[-1][0], (*shells[-1][1], offset))
        else:
            shells.append((far, (offset,)))
    return tuple(shells)


def _near(points: _Points, other: NDArray[Any], shells: Sequence[tuple[float, Sequence[int]]]) -> NDArray[np.float64]:
    """The distance of each point to the nearest element of its own label, infinite where none was found near."""
    result = np.full(len(points.places), np.inf)
    flat = other.ravel()
    for start in range(0, len(result), PIECE):
        part = slice(start, start + PIECE)
        places, kinds, left = points.places[part], points.kinds[part], np.arange(start, min(start + PIECE, len(result)))
        credit = PATIENCE * len(left)
        for distance, offsets in shells:
            hit = flat[places + offsets[0]] == kinds
            for offset in offsets[1:]:
                hit |= flat[places + offset] == kinds
            hits = int(np.count_nonzero(hit))
            credit += WORTH * hits - len(left) * len(offsets)
            if hits:
                result[left[hit]] = distance
                rest = ~hit
                places, kinds, left = places[rest], kinds[rest], left[rest]
            if credit < 0 or not len(left):
                break
    return result


def _far(
    distances: NDArray[np.float64],
    points: NDArray[np.intp],
    others: NDArray[np.intp],
    shape: tuple[int, ...],
    spacing: Sequence[float],
) -> None:
    """Fill in, in place, the distances that are not known yet."""
    rest = np.flatnonzero(np.isinf(distances))
    if not len(rest):
        return
    start, end = (np.stack(np.unravel_index(some, shape), -1) for some in (points[rest], others))
    low, high = np.minimum(start.min(0), end.min(0)), np.maximum(start.max(0), end.max(0)) + 1
    if TRANSFORM * np.prod(high - low, dtype=np.float64) < TREE * len(end) + QUERY * len(rest):
        distances[rest] = _by_transform(start - low, end - low, tuple(high - low), spacing)
    else:
        distances[rest] = _by_tree(start, end, spacing)


def _by_tree(start: NDArray[np.intp], end: NDArray[np.intp], spacing: Sequence[float]) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    tree = cKDTree(end * np.asarray(spacing), leafsize=32, balanced_tree=False, compact_nodes=False)
    distances: NDArray[np.float64] = tree.query(start * np.asarray(spacing))[0]
    return distances


def _by_transform(
    start: NDArray[np.intp], end: NDArray[np.intp], shape: tuple[int, ...], spacing: Sequence[float]
) -> NDArray[np.float64]:
    import edt

    away = np.ones(shape, np.bool_)
    away[tuple(end.T)] = False
    squares: NDArray[Any] = edt.edtsq(away, anisotropy=tuple(spacing), parallel=1)
    distances: NDArray[np.float64] = np.sqrt(squares[tuple(start.T)].astype(np.float64))
    return distances


def area_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks that hold at least one voxel each, with the size of each element.

    Args:
        prediction, reference: Boolean, of one shape (i, j[, k]), with a margin of one voxel that is outside.
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
