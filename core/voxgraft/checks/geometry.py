"""Do two grids lie on each other, and if not, what is off, by how much, and how it came about."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..imaging.orientation import reoriented
from ..imaging.volume import Array, Volume, millimetres_apart, times
from ..labels.masks import TOLERANCE
from .problem import millimetres

AXES = ("left-right", "posterior-anterior", "inferior-superior")
CLOSE = 1e-3
"""By how much the numbers of two directions may differ."""


def disagreement(image: Volume, label: Volume, what: str = "the label") -> tuple[str, str] | None:
    """The code and the sentence that tell how a label lies beside its image; None where it lies on it.

    Args:
        image, label: As they were read; the order of their axes may differ.
    """
    if image.dims != label.dims:
        return "shape-mismatch", f"{what} has {label.dims} axes and the image {image.dims}"
    straight, _ = reoriented(image)
    turned, _ = reoriented(label)
    if straight.shape != turned.shape:
        shapes = f"{times(straight.shape)} and {times(turned.shape)} voxels"
        return "shape-mismatch", f"image and {what} have different shapes, {shapes}: {_other_shape(straight, turned)}"
    apart = millimetres_apart(straight.affine, turned.affine, straight.shape)
    if apart <= TOLERANCE * min(straight.spacing):
        return None
    return "geometry-mismatch", f"{what} lies up to {apart:.3g} mm off the image: {_same_shape(image, label)}"


def _same_shape(image: Volume, label: Volume) -> str:
    """What differs between two affines, the plainest explanation first."""
    affine, other = image.affine, label.affine
    if image.shape == label.shape:
        if np.allclose(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, other, atol=0.01):
            return "x and y have the opposite sign, as if one header counted to the left and the other to the right"
        bare = np.abs(np.abs(other[:3, :3]) - np.diag(np.abs(np.diag(other[:3, :3])))).max() < CLOSE
        if bare and np.allclose(label.spacing, 1) and not other[:3, 3].any():
            return "its header has no geometry (1 mm, no position), as written by programs that save voxels only"
        flipped = [axis for axis in range(image.dims) if _column(affine, axis) @ _column(other, axis) < -1 + CLOSE]
        if flipped and np.allclose(image.spacing, label.spacing, rtol=1e-3):
            names = " and ".join(AXES[int(np.abs(affine[:3, axis]).argmax())] for axis in flipped)
            return f"its header turns the axis {names} round; the mask is mirrored or has a wrong header"
    return "; ".join(_differences(reoriented(image)[0], reoriented(label)[0]))


def _differences(image: Volume, label: Volume) -> list[str]:
    differences = []
    if not np.allclose(image.spacing, label.spacing, rtol=1e-3):
        sizes = f"{millimetres(label.spacing)} mm, the image's {millimetres(image.spacing)} mm"
        differences.append(f"its voxels measure {sizes}")
    angle = _angle(image.affine, label.affine, image.dims)
    if angle > 0.05:
        differences.append(f"its axes are turned by {angle:.3g} degrees")
    middle = (np.asarray((*image.shape, 1)[:3]) - 1) / 2
    shift = (label.affine - image.affine)[:3] @ [*middle, 1.0]
    if np.linalg.norm(shift) > TOLERANCE * min(image.spacing):
        differences.append(f"its centre is shifted by {_numbers(shift)} mm (right, anterior, superior)")
    return differences or ["its corners differ"]


def _other_shape(image: Volume, label: Volume) -> str:
    extents = [np.asarray(volume.shape) * volume.spacing for volume in (image, label)]
    if sorted(image.shape) == sorted(label.shape):
        return "the axes are in another order"
    if np.allclose(extents[0], extents[1], atol=1.01 * max(*image.spacing, *label.spacing)):
        return (
            f"both cover {millimetres(extents[0])} mm, the mask in voxels of {millimetres(label.spacing)} mm and the "
            f"image of {millimetres(image.spacing)} mm, so one of them was resampled"
        )
    if np.allclose(image.spacing, label.spacing, rtol=1e-3) and _angle(image.affine, label.affine, image.dims) < 0.05:
        start = np.linalg.solve(image.affine, label.affine[:, 3])[: image.dims]
        if np.abs(start - np.rint(start)).max() > 0.05:
            return f"the first voxels lie {_numbers(start)} voxels apart; are they of the same scan?"
        inside = (start > -0.5).all() and (start + label.shape < np.asarray(image.shape) + 0.5).all()
        part = "the mask was cropped from the image's grid" if inside else "one of them was cropped or padded"
        return f"{part}, {_numbers(start)} voxels from its first voxel"
    return f"they cover {millimetres(extents[0])} mm and {millimetres(extents[1])} mm; are they of the same scan?"


def _angle(first: Array, other: Array, dims: int) -> float:
    """The largest angle between corresponding axes, in degrees."""
    cosines = [_column(first, axis) @ _column(other, axis) for axis in range(dims)]
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())


def _column(affine: Array, axis: int) -> Array:
    column: Array = affine[:3, axis] / np.linalg.norm(affine[:3, axis])
    return column


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
