"""Soft Dice and cross-entropy from one logarithm of the softmax, in float32 whatever precision the network has; and the
same of regions that may overlap, each a sigmoid of its own.

No one-hot array of classes is made: the probability of each voxel's true class is gathered, and summed by class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from voxgraft.plugin import TrainingError

from .options import CrossEntropyOptions, DiceCEOptions, DiceOptions
from .regions import region_cross_entropy, region_dice


class Dice:
    """1 - mean over the structures of `(2 |P & T| + smooth) / (|P| + |T| + smooth)` with probabilities P (Milletari et
    al. 2016, without squares); background has no term."""

    def __init__(self, options: DiceOptions) -> None:
        self._options = options

    def __call__(self, logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
        """The loss from logits (batch, class, *spatial) and a target; see `voxgraft.training.loss.Loss`."""
        options = self._options
        with torch.autocast(logits.device.type, enabled=False):
            if target.ndim == logits.ndim:
                return region_dice(_precise(logits), target, counted, options.smooth, options.batch)
            logs = _log_probabilities(logits)
            return soft_dice(logs, _of_truth(logs, target), target, options.smooth, options.batch, counted)


class CrossEntropy:
    """The mean over voxels of `-log p` of the true class, weighted by class."""

    def __init__(self, options: CrossEntropyOptions) -> None:
        self._weights = options.class_weights

    def __call__(self, logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
        """The loss from logits (batch, class, *spatial) and a target; see `voxgraft.training.loss.Loss`.

        Raises:
            TrainingError: There is not one class weight for each class.
        """
        with torch.autocast(logits.device.type, enabled=False):
            if target.ndim == logits.ndim:
                return region_cross_entropy(_precise(logits), target, counted, self._weights)
            logs = _log_probabilities(logits)
            return cross_entropy(_of_truth(logs, target), target, self._weights, logs.shape[1], counted)


class DiceCE:
    """A weighted sum of the two."""

    def __init__(self, options: DiceCEOptions) -> None:
        self._options = options

    def __call__(self, logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
        """The loss from logits (batch, class, *spatial) and a target; see `voxgraft.training.loss.Loss`.

        Raises:
            TrainingError: There is not one class weight for each class.
        """
        options = self._options
        with torch.autocast(logits.device.type, enabled=False):
            if target.ndim == logits.ndim:
                precise = _precise(logits)
                dice = region_dice(precise, target, counted, options.smooth, options.batch)
                entropy = region_cross_entropy(precise, target, counted, options.class_weights)
            else:
                logs = _log_probabilities(logits)
                truth = _of_truth(logs, target)
                dice = soft_dice(logs, truth, target, options.smooth, options.batch, counted)
                entropy = cross_entropy(truth, target, options.class_weights, logs.shape[1], counted)
            return options.dice * dice + options.cross_entropy * entropy


def soft_dice(
    logs: Tensor, truth: Tensor, target: Tensor, smooth: float, batch: bool, counted: Tensor | None = None
) -> Tensor:
    """The loss from log-probabilities (batch, class, *spatial) and those of the true classes (batch, *spatial).

    Overlaps are added up in float64: float32 stops counting at some ten million voxels.

    Args:
        counted: bool (batch, *spatial), the voxels that count; None where all do.
    """
    samples, classes = logs.shape[:2]
    place = torch.arange(samples, device=target.device) * classes
    bins = (target.flatten(1) + place[:, None]).flatten()
    probabilities, right = logs.exp(), truth.exp()
    if counted is not None:
        right, probabilities = right * counted, probabilities * counted[:, None]
    overlap = torch.zeros(samples * classes, dtype=torch.float64, device=logs.device)
    overlap = overlap.index_add(0, bins, right.flatten().double()).reshape(samples, classes)
    weights = None if counted is None else counted.flatten().double()
    true = torch.bincount(bins, weights, minlength=samples * classes).reshape(samples, classes)
    predicted = probabilities.flatten(2).sum(2).double()
    if batch:
        overlap, true, predicted = overlap.sum(0), true.sum(0), predicted.sum(0)
    dice = (2 * overlap + smooth) / (predicted + true + smooth)
    return 1 - dice[..., 1:].mean().to(logs.dtype)


def cross_entropy(
    truth: Tensor, target: Tensor, weights: Sequence[float] | None, classes: int, counted: Tensor | None = None
) -> Tensor:
    """The loss from the log-probabilities of the true classes (batch, *spatial); 0 where no voxel counts."""
    if weights is None and counted is None:
        return -truth.mean()
    if weights is not None and len(weights) != classes:
        raise TrainingError(
            f"training.loss: class_weights has {len(weights)} numbers for {classes} classes (background is the first)"
        )
    each = torch.ones_like(truth)
    if weights is not None:
        each = torch.tensor(weights, dtype=truth.dtype, device=truth.device)[target]
    if counted is not None:
        each = each * counted
    return -(each * truth).sum() / each.sum().clamp_min(torch.finfo(truth.dtype).tiny)


def _precise(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _log_probabilities(logits: Tensor) -> Tensor:
    return _precise(logits).log_softmax(1)


def _of_truth(logs: Tensor, target: Tensor) -> Tensor:
    return logs.gather(1, target[:, None]).squeeze(1)
