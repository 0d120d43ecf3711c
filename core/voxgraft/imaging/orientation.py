"""Grids: the order of a scan's axes, the way into the order the network sees, and the exact way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from .volume import Array, Volume


@dataclass(frozen=True, slots=True)
class Orientation:
    """How the axes of a scan became right, anterior, superior.

    Attributes:
        order: For each axis of the result, the axis of the scan it was.
        flips: For each axis of the result, whether it was turned round.
    """

    order: tuple[int, ...]
    flips: tuple[bool, ...]

    def apply(self, array: Array) -> Array:
        """Reorder and flip the last axes of an array; a view, nothing is copied."""
        lead = array.ndim - len(self.order)
        moved = array.transpose((*range(lead), *(lead + axis for axis in self.order)))
        return moved[(..., *(slice(None, None, -1) if flip else slice(None) for flip in self.flips))]

    def undo(self, array: Array) -> Array:
        """The inverse of `apply`; a view, nothing is copied."""
        lead = array.ndim - len(self.order)
        turned = array[(..., *(slice(None, None, -1) if flip else slice(None) for flip in self.flips))]
        back = np.argsort(self.order)
        return turned.transpose((*range(lead), *(lead + int(axis) for axis in back)))

    def box(self, box: Sequence[slice], shape: Sequence[int]) -> tuple[slice, ...]:
        """Where a part of an array of this shape lies once `apply` was used on it."""
        sides = [(box[axis], shape[axis], flip) for axis, flip in zip(self.order, self.flips, strict=True)]
        return tuple(slice(n - side.stop, n - side.start) if flip else side for side, n, flip in sides)


OBLIQUE = 20.0
"""Degrees off the nearest plane of the body beyond which slices are called oblique."""


def plane_of(affine: Array, dims: int) -> str:
    """How slices lie: `axial`, `sagittal`, `coronal`, `oblique`; empty for an image that is not a stack.

    Args:
        affine: From voxel indices to RAS millimetres; slices go along the third axis.
    """
    if dims != 3:
        return ""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    along = np.abs(normal) / np.linalg.norm(normal)
    if along.max() < np.cos(np.radians(OBLIQUE)):
        return "oblique"
    return ("sagittal", "coronal", "axial")[int(along.argmax())]


def orientation_of(affine: Array, dims: int) -> Orientation:
    """The axes of a scan nearest to right, anterior and superior; 2D images are left as they are."""
    if dims == 2:
        return Orientation((0, 1), (False, False))
    directions = affine[:3, :3] / np.sqrt((affine[:3, :3] ** 2).sum(0))
    best = max(permutations(range(3)), key=lambda order: sum(abs(directions[i, axis]) for i, axis in enumerate(order)))
    return Orientation(best, tuple(bool(directions[i, axis] < 0) for i, axis in enumerate(best)))


def reoriented(volume: Volume) -> tuple[Volume, Orientation]:
    """The volume with its axes in RAS order (a view of the same voxels), and how to get back.

    Examples:
        >>> scan = Volume(np.arange(24).reshape(2, 3, 4), np.diag([-1.0, -1.0, 2.0, 1.0]))
        >>> turned, orientation = reoriented(scan)
        >>> bool(turned.array[0, 0, 0] == scan.array[1, 2, 0])
        True
        >>> bool((orientation.undo(turned.array) == scan.array).all())
        True
    """
    orientation = orientation_of(volume.affine, volume.dims)
    if volume.dims == 2:
        return volume, orientation
    affine, order = volume.affine.copy(), list(orientation.order)
    affine[:3, :3] = volume.affine[:3, order] * np.where(orientation.flips, -1, 1)
    start = np.zeros(3)
    start[order] = np.where(orientation.flips, np.array(volume.shape)[order] - 1, 0)
    affine[:3, 3] = volume.affine[:3, :3] @ start + volume.affine[:3, 3]
    turned = Volume(orientation.apply(volume.array), affine, dims=volume.dims, item=volume.item)
    return turned, orientation


def shape_at(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """Voxels along each axis when the same extent in millimetres is sampled at another spacing.

    Args:
        shape: Voxels along each axis.
        spacing: Millimetres between voxels along each axis now.
        target: Millimetres between voxels along each axis as wished, in the same order.

    Examples:
        >>> shape_at((512, 512, 40), (0.7, 0.7, 5.0), (1.4, 1.4, 2.5))
        (256, 256, 80)
    """
    return tuple(max(1, round(n * have / want)) for n, have, want in zip(shape, spacing, target, strict=True))
