"""Outputs as probabilities: divergences between them, their entropy, and means over the voxels that count."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def probabilities(logits: Tensor, regions: bool) -> Tensor:
    """(batch, class, *spatial): a softmax over classes, or a sigmoid of each region."""
    return logits.float().sigmoid() if regions else logits.float().softmax(1)


def mean_over(values: Tensor, counted: Tensor | None) -> Tensor:
    """The mean of (batch, *spatial) over all voxels, or over those that count; 0 where none does."""
    if counted is None:
        return values.mean()
    return (values * counted).sum() / counted.sum().clamp_min(1)


def divergence(
    student: Tensor, teacher: Tensor, temperature: float, regions: bool, counted: Tensor | None = None
) -> Tensor:
    """`T^2 KL(teacher_T || student_T)` (Hinton 2015): summed over classes, averaged over voxels.

    Args:
        student, teacher: Logits (batch, class, *spatial); no gradient reaches the teacher's.
        regions: Each class is a sigmoid of its own: its divergence is that of two Bernoulli distributions.
    """
    student_logits, teacher_logits = student.float() / temperature, teacher.detach().float() / temperature
    if regions:
        p = teacher_logits.sigmoid()
        each = p * (functional.logsigmoid(teacher_logits) - functional.logsigmoid(student_logits))
        each = each + (1 - p) * (functional.logsigmoid(-teacher_logits) - functional.logsigmoid(-student_logits))
    else:
        log_p = teacher_logits.log_softmax(1)
        each = log_p.exp() * (log_p - student_logits.log_softmax(1))
    return temperature**2 * mean_over(each.sum(1), counted)


def entropy_maps(logits: Tensor, regions: bool) -> Tensor:
    """`-p log p` of each class, so scaled that the sum over classes is 0 for a decision and 1 for evens; for regions
    the entropy of each sigmoid by itself, 0 to 1. Shape (batch, class, *spatial)."""
    p = probabilities(logits, regions)
    maps = -p * (p + 1e-30).log()
    if regions:
        q = 1 - p
        return (maps - q * (q + 1e-30).log()) / math.log(2)
    return maps / math.log(max(2, p.shape[1]))


def entropy(p: Tensor, regions: bool) -> Tensor:
    """Of probabilities (batch, class, *spatial) as a share of the largest it can be: (batch, *spatial)."""
    if regions:
        q = 1 - p
        each = -p * (p + 1e-30).log() - q * (q + 1e-30).log()
        return each.mean(1) / math.log(2)
    return -(p * (p + 1e-30).log()).sum(1) / math.log(max(2, p.shape[1]))


def decisions(logits: Tensor, regions: bool) -> Tensor:
    """What the outputs decide, as a loss takes it: class indices (batch, *spatial), or 0 and 1 of each region."""
    return (logits.detach() > 0).float() if regions else logits.detach().argmax(1)


def hard_entropy(logits: Tensor, decided: Tensor, regions: bool, counted: Tensor | None) -> Tensor:
    """Cross-entropy with decisions as labels, averaged over voxels that count.

    Args:
        logits: (batch, output, *spatial).
        decided: Classes (batch, *spatial), or of regions 0 and 1 in the shape of the logits.
        regions: Each output is a decision of its own.
        counted: Bool (batch, *spatial): voxels that count; None where all do.
    """
    if regions:
        each = functional.binary_cross_entropy_with_logits(logits.float(), decided, reduction="none").mean(1)
    else:
        each = functional.cross_entropy(logits.float(), decided, reduction="none")
    return mean_over(each, counted)


def squared(first: Tensor, other: Tensor) -> Tensor:
    """The squared difference of probabilities, averaged over classes: (batch, *spatial)."""
    return torch.square(first - other).mean(1)
