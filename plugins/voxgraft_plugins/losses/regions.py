"""Soft Dice and cross-entropy of regions that may overlap: each is a sigmoid of its own, and none is background."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from voxgraft.plugin import TrainingError


def region_dice(logits: Tensor, target: Tensor, counted: Tensor | None, smooth: float, batch: bool) -> Tensor:
    """1 - mean soft Dice of the regions.

    Args:
        logits: (batch, region, *spatial).
        target: 0 and 1 of the same shape.
        counted: bool (batch, *spatial), the voxels that count; None where all do.
    """
    found, truth = logits.sigmoid(), target.to(logits.dtype)
    if counted is not None:
        found, truth = found * counted[:, None], truth * counted[:, None]
    overlap = (found * truth).flatten(2).sum(2).double()
    both = found.flatten(2).sum(2).double() + truth.flatten(2).sum(2).double()
    if batch:
        overlap, both = overlap.sum(0), both.sum(0)
    return 1 - ((2 * overlap + smooth) / (both + smooth)).mean().to(logits.dtype)


def region_cross_entropy(
    logits: Tensor, target: Tensor, counted: Tensor | None, weights: Sequence[float] | None
) -> Tensor:
    """The mean over voxels and regions of binary cross-entropy, weighted by region; 0 where no voxel counts.

    Raises:
        TrainingError: There is not one weight for each region.
    """
    each = functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    if weights is None and counted is None:
        return each.mean()
    share = torch.ones_like(each)
    if weights is not None:
        if len(weights) != each.shape[1]:
            raise TrainingError(
                f"training.loss: class_weights has {len(weights)} numbers for {each.shape[1]} regions "
                "(there is none for background)"
            )
        shape = (1, -1, *[1] * (each.ndim - 2))
        share = share * torch.tensor(weights, dtype=each.dtype, device=each.device).reshape(shape)
    if counted is not None:
        share = share * counted[:, None]
    return (each * share).sum() / share.sum().clamp_min(torch.finfo(each.dtype).tiny)
