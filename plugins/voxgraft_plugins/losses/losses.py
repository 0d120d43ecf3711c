"""Soft Dice and cross-entropy from one logarithm of the softmax, in float32 whatever precision the network has.

No one-hot array is made: the probability of each voxel's true class is gathered, and summed by class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from voxgraft.errors import TrainingError

from .config import CrossEntropyConfig, DiceCEConfig, DiceConfig


class Dice:
    """1 - mean over the structures of `(2 |P & T| + smooth) / (|P| + |T| + smooth)` with probabilities P (Milletari et
    al. 2016, without squares); background has no term."""

    def __init__(self, config: DiceConfig) -> None:
        self._config = config

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss from logits (batch, class, *spatial) and int64 classes (batch, *spatial)."""
        with torch.autocast(logits.device.type, enabled=False):
            logs = _log_probabilities(logits)
            return soft_dice(logs, _of_truth(logs, target), target, self._config.smooth, self._config.batch)


class CrossEntropy:
    """The mean over voxels of `-log p` of the true class, weighted by class."""

    def __init__(self, config: CrossEntropyConfig) -> None:
        self._weights = config.class_weights

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss from logits (batch, class, *spatial) and int64 classes (batch, *spatial).

        Raises:
            TrainingError: There is not one class weight for each class.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logs = _log_probabilities(logits)
            return cross_entropy(_of_truth(logs, target), target, self._weights, logs.shape[1])


class DiceCE:
    """A weighted sum of the two."""

    def __init__(self, config: DiceCEConfig) -> None:
        self._config = config

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss from logits (batch, class, *spatial) and int64 classes (batch, *spatial).

        Raises:
            TrainingError: There is not one class weight for each class.
        """
        config = self._config
        with torch.autocast(logits.device.type, enabled=False):
            logs = _log_probabilities(logits)
            truth = _of_truth(logs, target)
            dice = soft_dice(logs, truth, target, config.smooth, config.batch)
            entropy = cross_entropy(truth, target, config.class_weights, logs.shape[1])
            return config.dice * dice + config.cross_entropy * entropy


def soft_dice(logs: Tensor, truth: Tensor, target: Tensor, smooth: float, batch: bool) -> Tensor:
    """The loss from log-probabilities (batch, class, *spatial) and those of the true classes (batch, *spatial).

    Overlaps are added up in float64: float32 stops counting at some ten million voxels.
    """
    samples, classes = logs.shape[:2]
    place = torch.arange(samples, device=target.device) * classes
    bins = (target.flatten(1) + place[:, None]).flatten()
    overlap = torch.zeros(samples * classes, dtype=torch.float64, device=logs.device)
    overlap = overlap.index_add(0, bins, truth.exp().flatten().double()).reshape(samples, classes)
    true = torch.bincount(bins, minlength=samples * classes).reshape(samples, classes)
    predicted = logs.exp().flatten(2).sum(2).double()
    if batch:
        overlap, true, predicted = overlap.sum(0), true.sum(0), predicted.sum(0)
    dice = (2 * overlap + smooth) / (predicted + true + smooth)
    return 1 - dice[..., 1:].mean().to(logs.dtype)


def cross_entropy(truth: Tensor, target: Tensor, weights: Sequence[float] | None, classes: int) -> Tensor:
    """The loss from the log-probabilities of the true classes (batch, *spatial)."""
    if weights is None:
        return -truth.mean()
    if len(weights) != classes:
        raise TrainingError(
            f"training.loss: class_weights has {len(weights)} numbers for {classes} classes (background is the first)"
        )
    each = torch.tensor(weights, dtype=truth.dtype, device=truth.device)[target]
    return -(each * truth).sum() / each.sum().clamp_min(torch.finfo(truth.dtype).tiny)


def _log_probabilities(logits: Tensor) -> Tensor:
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(1)


def _of_truth(logs: Tensor, target: Tensor) -> Tensor:
    return logs.gather(1, target[:, None]).squeeze(1)
