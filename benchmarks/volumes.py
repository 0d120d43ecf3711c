"""A CT of full size and masks of it, made from the small ones in the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

FULL = (512, 512, 400)
TISSUES = (-500, -150, -20, 150)
"""Hounsfield units between air, fat, soft tissue, organs and bone."""


def affine_of(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Voxels of a body of 366 x 303 x 336 mm."""
    return np.diag([-366 / shape[0], -303 / shape[1], 336 / shape[2], 1.0])


def smooth_ct(data: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The torso of `example_ct` by linear interpolation, float32, first axis fastest, without noise."""
    from scipy.ndimage import map_coordinates

    small = np.asanyarray(nib.load(data / "ct" / "example_ct.nii.gz").dataobj).astype(np.float32)
    out = np.empty(shape, np.float32, order="F")
    axes = [np.linspace(0, old - 1, new, dtype=np.float32) for old, new in zip(small.shape, shape, strict=True)]
    for k, z in enumerate(axes[2]):
        low = min(int(z), small.shape[2] - 2)
        plane = small[..., low] + (small[..., low + 1] - small[..., low]) * (z - low)
        out[..., k] = map_coordinates(plane, np.meshgrid(axes[0], axes[1], indexing="ij"), order=1)
    return out


def noisy_ct(smooth: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same with noise of 12 HU, as int16."""
    random = np.random.default_rng(7)
    out = np.empty(smooth.shape, np.int16, order="F")
    for k in range(smooth.shape[2]):
        noise = random.normal(0, 12, smooth.shape[:2])
        out[..., k] = np.clip(np.rint(smooth[..., k] + noise), -1024, 3071)
    return out


def nearest_mask(data: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The 41 organs of `example_seg`, each voxel the nearest one, uint8, first axis fastest."""
    small = np.asanyarray(nib.load(data / "ct" / "example_seg.nii.gz").dataobj).astype(np.uint8)
    picks = [(np.arange(new) * old // new) for old, new in zip(small.shape, shape, strict=True)]
    return np.asfortranarray(small[np.ix_(*picks)])


def tissue_mask(smooth: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tissues by their density, with borders as smooth as a network's, uint8, first axis fastest."""
    out = np.zeros(smooth.shape, np.uint8, order="F")
    for limit in TISSUES:
        for k in range(smooth.shape[2]):
            out[..., k] += smooth[..., k] > limit
    return out
