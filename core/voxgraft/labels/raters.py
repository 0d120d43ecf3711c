"""Masks of several raters brought together: by majority, or by STAPLE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..imaging.volume import Array


def majority(masks: Sequence[Array], dims: int, ignored: int | None = None) -> Array:
    """At each voxel the value that most raters give; of several with as many votes the lowest, background first.

    Args:
        masks: Label maps of one shape; or (structure, *spatial), where each structure is voted on by itself.
        dims: Spatial axes of a mask.
        ignored: The value of voxels that count nowhere; a voxel that any rater left out stays left out.
    """
    kinds = [mask.dtype for mask in masks] + ([] if ignored is None else [np.min_scalar_type(ignored)])
    best = np.zeros(masks[0].shape, np.result_type(*kinds))
    most = np.full(masks[0].shape, -1, np.int16)
    left_out = _left_out(masks, ignored)
    for value in sorted({0, *(int(value) for mask in masks for value in np.unique(mask))} - {ignored}):
        votes = np.zeros(masks[0].shape, np.int16)
        for mask in masks:
            votes += mask == value
        wins = votes > most
        best[wins] = value
        most[wins] = votes[wins]
    if left_out is not None:
        best[left_out] = ignored
    return best


def staple(masks: Sequence[Array], dims: int, ignored: int | None = None) -> Array:
    """The most likely true value at each voxel, each rater weighed by how well they agree with it.

    The expectation-maximisation of Warfield et al. 2004, for several labels as Rohlfing et al. 2004 have it, as ITK
    computes it; what it cannot decide falls to the majority.

    Args:
        masks: Label maps of one shape; or (structure, *spatial), where each structure is found by itself.
    """
    if masks[0].ndim > dims:
        return np.stack([staple([mask[index] for mask in masks], dims, ignored) for index in range(len(masks[0]))])
    import SimpleITK as sitk

    left_out = _left_out(masks, ignored)
    by_vote = majority(masks, dims, ignored)
    clean = [np.where(mask == ignored, 0, mask) if left_out is not None else mask for mask in masks]
    values = np.unique(np.concatenate([[0], *(np.unique(mask) for mask in clean)]))  # their places take less memory
    if len(values) == 1 or len(masks) < 2:
        return by_vote
    numbered = [np.searchsorted(values, mask).astype(np.uint16) for mask in clean]
    images = [sitk.GetImageFromArray(np.ascontiguousarray(mask.T)) for mask in numbered]
    fusion = sitk.MultiLabelSTAPLEImageFilter()
    undecided = len(values)
    fusion.SetLabelForUndecidedPixels(undecided)
    fusion.SetNumberOfThreads(1)  # sums in one order: the same result on every machine
    fused: Array = sitk.GetArrayFromImage(fusion.Execute(images)).T
    known = fused < undecided
    result = np.where(known, values[np.where(known, fused, 0)], by_vote).astype(by_vote.dtype)
    if left_out is not None:
        result[left_out] = ignored
    return result


def _left_out(masks: Sequence[Array], ignored: int | None) -> Array | None:
    if ignored is None:
        return None
    where: Array = np.logical_or.reduce([mask == ignored for mask in masks])
    return where
