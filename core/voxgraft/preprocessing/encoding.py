"""How one whole number a voxel stands for its structures while training: a class index, or a bit for each region.

Crops, augmentation and sampling work on this one map, whatever it stands for; the loss unpacks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.resample import resample_labels, resample_shares
from .plan import Plan, encoded_type, left_out, left_out_bit

if TYPE_CHECKING:
    from ..imaging.volume import Array


def encode_labels(mask: Array, shape: tuple[int, ...], plan: Plan) -> NDArray[Any]:
    """A mask as `voxgraft.labels.masks.read_mask` gives it, on another grid over the same extent, as training holds it.

    Args:
        mask: Values (*spatial), or 0 and 1 (structure, *spatial) in the order of `plan.structures`.

    Returns:
        Class indices (*shape), `left_out` where voxels count nowhere; or, for regions, bits; of `encoded_type`.
    """
    if plan.regions:
        return _bits(mask, shape, plan)
    highest = max(int(mask.max(initial=0)), *plan.values, plan.ignored or 0)
    table = np.zeros(highest + 1, encoded_type(plan))
    for index, value in enumerate(plan.values):
        table[value] = index
    if plan.ignored is None:
        return resample_labels(table[mask], shape, plan.classes)
    table[plan.ignored] = left_out(plan)
    return resample_labels(table[mask], shape, plan.classes, left_out(plan))


def regridded(label: NDArray[Any], shape: tuple[int, ...], plan: Plan) -> NDArray[Any]:
    """Class indices or bits on another grid over the same extent.

    Args:
        plan: Says whether values are class indices or bits of regions.
    """
    if not plan.regions:
        return resample_labels(label, shape, plan.classes)
    result = np.zeros(shape, label.dtype)
    for index in range(plan.classes):
        result[resample_shares(masks_of(label, index + 1, plan), shape)] |= 1 << index
    return result


def masks_of(label: NDArray[Any], index: int, plan: Plan) -> NDArray[np.bool_]:
    """Where a structure is, as bool of the map's shape.

    Args:
        label: Class indices or bits, any shape.
        index: Of the structure, counted from 1.
        plan: Says which of the two the label holds.
    """
    if not plan.regions:
        return np.asarray(label == index)
    return ((label >> (index - 1)) & 1).astype(bool)


def counted_voxels(label: NDArray[Any], plan: Plan) -> NDArray[np.bool_] | None:
    """Where voxels count; None where all do."""
    if plan.ignored is None:
        return None
    return np.asarray(label & left_out_bit(plan) == 0 if plan.regions else label != left_out(plan))


def _bits(mask: Array, shape: tuple[int, ...], plan: Plan) -> NDArray[Any]:
    """Each region is interpolated linearly, and is where its share is more than half."""
    result = np.zeros(shape, encoded_type(plan))
    several = mask.ndim > len(shape)
    for index, region in enumerate(plan.regions):
        inside = resample_shares(_union(mask, region.members, plan, several), shape)
        result[inside] |= 1 << index
    if plan.ignored is not None:
        first = mask[0] if several else mask
        result[resample_shares(first == plan.ignored, shape)] = left_out_bit(plan)
    return result


def _union(mask: Array, members: tuple[int, ...], plan: Plan, several: bool) -> Array:
    if not several:
        return np.isin(mask, members)
    order = {value: index for index, value in enumerate(plan.structures)}
    inside: Array = np.logical_or.reduce([mask[order[value]] == 1 for value in members])
    return inside
