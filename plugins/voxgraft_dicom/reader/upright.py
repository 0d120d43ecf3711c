"""Slices of a tilted gantry on a grid of right angles: each is shifted within its plane, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from voxgraft.plugin import Array, Item, Problem, Volume


def upright(shape: tuple[int, ...], affine: Array) -> tuple[tuple[int, int, int], Array]:
    """Shape and affine of the upright grid that holds a leaning one.

    It has the pixels of the first slice, and as many more as the others reach out; its slices are the same.
    """
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    straight = affine.copy()
    straight[:3, 2] = normal * (affine[:3, 2] @ normal)
    # How far each slice is shifted relative to the first, in pixels of the first: (i, j) of slice k is shift * k.
    shift = np.linalg.solve(straight[:3, :3], affine[:3, 2])[:2] * (shape[2] - 1)
    below = np.floor(np.minimum(shift, 0) + 1e-6).astype(int)
    above = np.ceil(np.maximum(shift, 0) - 1e-6).astype(int)
    straight[:3, 3] += straight[:3, :2] @ below
    columns, rows = (int(n) for n in np.array(shape[:2]) - below + above)
    return (columns, rows, shape[2]), straight


def uprighted(item: Item) -> Item:
    """The item of the upright grid; what it was resampled from is told, and no other object can refer to its frames."""
    shape, affine = upright(item.shape, item.affine)
    text = "its gantry was tilted, and its slices were resampled onto a grid of right angles, as the option says"
    kept = tuple(problem for problem in item.problems if problem.code != "gantry-tilt")
    problems = (*kept, Problem("gantry-tilt", text, "repair"))
    return replace(item, shape=shape, affine=affine, problems=problems)


def resampled(array: Array, leaning: Array, item: Item) -> Volume:
    """The voxels of a leaning grid on that of the item.

    Args:
        array: Voxels (i, j, k).
        leaning: The affine of the sheared grid, to RAS millimetres.
        item: The image, with shape and affine of the upright grid.
    """
    from voxgraft.plugin import resample_onto

    like = Volume(np.broadcast_to(np.uint8(0), item.shape), item.affine, dims=3, item=item)
    return resample_onto(Volume(array, leaning, dims=3), like, "linear")
