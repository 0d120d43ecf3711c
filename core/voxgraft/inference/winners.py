"""Which class wins at each voxel, some rows at a time: several times as fast as torch's `argmax` along the classes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

AT_A_TIME = 1 << 17
"""Voxels that are looked at together: what is between stays in the processor's cache."""


def winners(logits: Tensor) -> Tensor:
    """The class of the largest logit at each voxel, of several equal ones the first: what `argmax(0)` gives.

    Args:
        logits: (class, *spatial), finite.

    Returns:
        (*spatial), uint8 up to 256 classes, otherwise int16.
    """
    classes = torch.empty(logits.shape[1:], dtype=kind_of(logits.shape[0]), device=logits.device)
    for rows in row_groups(logits):
        largest(logits[:, rows], classes[rows])
    return classes


def largest(logits: Tensor, classes: Tensor, second: Tensor | None = None) -> Tensor:
    """Write the class of the largest logit into `classes`; returns that logit, (*spatial).

    Args:
        logits: (class, *spatial), finite.
        classes: Of `kind_of`; written.
        second: Minus infinity everywhere; becomes the second largest logit.
    """
    best = logits[0].clone()
    classes.zero_()
    above = torch.empty(best.shape, dtype=torch.bool, device=best.device)
    flag = above.view(torch.uint8)
    for number in range(1, len(logits)):
        torch.gt(logits[number], best, out=above)
        # Numbers grow, so the larger of two is the later winner; a masked write would take three times as long.
        torch.maximum(classes, flag.to(classes.dtype) * number, out=classes)
        if second is not None:
            torch.maximum(second, torch.minimum(best, logits[number]), out=second)
        torch.maximum(best, logits[number], out=best)
    return best


def row_groups(logits: Tensor) -> Iterator[slice]:
    """Parts of the first spatial axis of (class, *spatial)."""
    number = logits.shape[1]
    step = max(1, AT_A_TIME // max(1, logits[0, :1].numel())) if number else 1
    return (slice(start, min(number, start + step)) for start in range(0, number, step))


def kind_of(classes: int) -> torch.dtype:
    """The type that holds as many class indices."""
    return torch.uint8 if classes <= 256 else torch.int16


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
