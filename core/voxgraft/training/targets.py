"""From the one number a voxel has while training to what a loss compares logits with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..preprocessing.plan import Plan, left_out, left_out_bit
from .loss import Loss


def unpacked(coded: Tensor, plan: Plan) -> tuple[Tensor, Tensor | None]:
    """What a loss takes as target and mask.

    Args:
        coded: int64 (batch, *spatial), class indices or bits of regions; see `voxgraft.preprocessing.encoding`.

    Returns:
        The class indices, or 0 and 1 as float32 (batch, region, *spatial); and where voxels count, bool
        (batch, *spatial), None where all do.
    """
    if plan.regions:
        counted = None if plan.ignored is None else coded & left_out_bit(plan) == 0
        bits = torch.arange(plan.classes, device=coded.device).reshape(-1, *[1] * (coded.ndim - 1))
        return ((coded[:, None] >> bits) & 1).float(), counted
    if plan.ignored is None:
        return coded, None
    counted = coded != left_out(plan)
    return coded.masked_fill(~counted, 0), counted


def deep_loss(loss: Loss, logits: Tensor, deep: Sequence[Tensor], target: Tensor, plan: Plan) -> Tensor:
    """The loss at full resolution and, with smaller weights, at each coarser level (Lee et al. 2015).

    Args:
        target: int64 (batch, *spatial), coded as the plan says.
    """
    total = _loss(loss, logits, target, plan)
    weight, weights = 0.25, 1.0
    for coarse in deep:
        total = total + weight * _loss(loss, coarse, _coarser(target, coarse.shape[2:]), plan)
        weights, weight = weights + weight, weight / 2
    return total / weights


def _loss(loss: Loss, logits: Tensor, target: Tensor, plan: Plan) -> Tensor:
    truth, counted = unpacked(target, plan)
    return loss(logits, truth) if counted is None else loss(logits, truth, counted)


def _coarser(target: Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers (batch, *spatial) of the voxels nearest to a coarser grid's centres."""
    for axis, size in enumerate(shape, start=1):
        have = target.shape[axis]
        index = ((torch.arange(size, device=target.device) + 0.5) * (have / size)).long().clamp_max(have - 1)
        target = target.index_select(axis, index)
    return target
