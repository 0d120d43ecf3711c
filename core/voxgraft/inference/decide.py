"""From logits to what is found at each voxel, and from that to the mask that is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..preprocessing.encoding import masks_of
from ..preprocessing.plan import Plan


class Tally:
    """Mean probability of the winning class, class by class, over parts of a scan."""

    def __init__(self, classes: int) -> None:
        self.sums = torch.zeros(classes, dtype=torch.float64)
        self.voxels = torch.zeros(classes, dtype=torch.float64)

    def add(self, classes: Tensor, best: Tensor) -> None:
        flat = classes.flatten()
        number = len(self.sums)
        self.sums += torch.bincount(flat, best.flatten().double(), minlength=number).cpu()
        self.voxels += torch.bincount(flat, minlength=number).double().cpu()

    def add_region(self, index: int, probability: Tensor, inside: Tensor) -> None:
        """Add one part of a scan for one region.

        Args:
            index: The region's place among the network's outputs.
            probability: Of the region, any shape.
            inside: Bool of the same shape: where the region was decided for.
        """
        self.sums[index] += (probability * inside).double().sum().cpu()
        self.voxels[index] += inside.sum().double().cpu()

    def means(self) -> list[float]:
        return [float(s / n) if n else 0.0 for s, n in zip(self.sums, self.voxels, strict=True)]


def decide(logits: Tensor, plan: Plan, tally: Tally) -> Tensor:
    """The winning class of each voxel, or a bit for each region that is more likely there than not.

    Args:
        logits: (output, *spatial).
        plan: Says whether outputs are classes, which exclude each other, or regions.
        tally: Is told the probabilities of what was decided.
    """
    if not plan.regions:
        best, classes = logits.softmax(0).max(0)
        tally.add(classes, best)
        return classes.short()
    bits = torch.zeros(logits.shape[1:], dtype=torch.int32, device=logits.device)
    for index, channel in enumerate(logits):
        inside = channel > 0
        bits |= inside.int() << index
        tally.add_region(index, channel.sigmoid(), inside)
    return bits


def probabilities_of(logits: Tensor, plan: Plan) -> NDArray[np.float32]:
    """The probability of each output of the network, background among them unless it finds regions."""
    probabilities: NDArray[np.float32] = (logits.sigmoid() if plan.regions else logits.softmax(0)).float().cpu().numpy()
    return probabilities


def mask_of(decisions: NDArray[Any], plan: Plan) -> NDArray[Any]:
    """What is written of class indices or bits (*spatial).

    Returns:
        Label values (*spatial); for regions that nothing is painted with, uint8 0 and 1 (region, *spatial).
    """
    kind = np.uint8 if max(plan.values) < 256 else np.uint16
    if not plan.regions:
        values: NDArray[Any] = np.array(plan.values, dtype=kind)
        labels: NDArray[Any] = values[decisions]
        return labels
    masks = (masks_of(decisions, index, plan) for index in range(1, plan.classes + 1))
    if not plan.paint:
        return np.stack([mask.astype(np.uint8) for mask in masks])
    painted = np.zeros(decisions.shape, kind)
    for value, mask in zip(plan.paint, masks, strict=True):
        painted[mask] = value
    return painted
