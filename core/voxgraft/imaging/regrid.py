"""Resampling onto the grid of another scan, wherever it lies; both grids may be oblique."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..errors import DataError
from .volume import Array, Volume

Interpolation = Literal["linear", "nearest"]
_LPS = np.diag([-1.0, -1.0, 1.0])


def resample_onto(volume: Volume, reference: Volume, interpolation: Interpolation) -> Volume:
    """The volume on the grid of `reference`, in its own dtype (bool becomes uint8); the reference's item goes with it.

    Places that the volume does not cover become 0, or its lowest value where that is below 0 (air in CT). A voxel is
    covered up to its faces, half a voxel beyond its centre.

    Args:
        volume: Voxels (i, j[, k]) or (channel, i, j[, k]), in any orientation.
        reference: Gives shape, affine and item of the result; its voxels are not looked at.
        interpolation: `nearest` for masks; see `Interpolation`.

    Raises:
        DataError: One has two axes and the other three, or the voxels are of a type that cannot be interpolated.

    Examples:
        >>> coarse = Volume(np.full((4, 4, 4), 7, np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> fine = Volume(np.zeros((7, 7, 7)), np.eye(4))
        >>> moved = resample_onto(coarse, fine, "nearest")
        >>> moved.shape, moved.spacing, np.unique(moved.array).tolist()
        ((7, 7, 7), (1.0, 1.0, 1.0), [7])
    """
    import SimpleITK as sitk

    if volume.dims != reference.dims:
        raise DataError(f"an image of {volume.dims} axes cannot be brought onto a grid of {reference.dims}")
    array = volume.array.astype(np.float32) if volume.array.dtype == np.float16 else volume.array
    array = array.view(np.uint8) if array.dtype == np.bool_ else array
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise DataError(f"voxels of type {array.dtype} cannot be interpolated")
    size, origin, spacing, direction = _grid(reference)
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(size)
    resampler.SetOutputOrigin(origin)
    resampler.SetOutputSpacing(spacing)
    resampler.SetOutputDirection(direction)
    resampler.SetInterpolator(sitk.sitkLinear if interpolation == "linear" else sitk.sitkNearestNeighbor)
    whole = array.dtype.kind in "iu" and interpolation == "linear"
    if whole:  # ITK cuts fractions off where it gives integers; they are rounded below instead
        resampler.SetOutputPixelType(sitk.sitkFloat32 if array.dtype.itemsize < 4 else sitk.sitkFloat64)
    resampler.SetDefaultPixelValue(min(0.0, float(array.min())))
    channels = array.reshape(volume.channels, *volume.shape)
    parts = [_resampled(channel, volume, resampler).reshape(reference.shape) for channel in channels]
    if whole:
        parts = [np.rint(part).astype(array.dtype) for part in parts]
    joined = parts[0] if volume.array.ndim == volume.dims else np.stack(parts)
    return Volume(joined, reference.affine, dims=reference.dims, item=reference.item)


def _resampled(channel: Array, volume: Volume, resampler: Any) -> Array:
    """One channel, with its axes (i, j, k)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(channel.reshape((*channel.shape, 1)[:3]).T)
    _, origin, spacing, direction = _grid(volume)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    done: Array = sitk.GetArrayFromImage(resampler.Execute(image)).T
    return done


def _grid(volume: Volume) -> tuple[tuple[int, ...], list[float], list[float], list[float]]:
    """Size, origin, spacing and direction in ITK's terms (LPS); a 2D image is one slice."""
    lps = _LPS @ volume.affine[:3]
    spacing = np.sqrt((lps[:, :3] ** 2).sum(0))
    shape = (*volume.shape, 1)[:3]
    return shape, lps[:, 3].tolist(), spacing.tolist(), (lps[:, :3] / spacing).ravel().tolist()
