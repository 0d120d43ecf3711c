"""Soft Dice and cross-entropy in float32, whatever precision the network has: of classes, from one logarithm of the
softmax, or of regions that may overlap, each a sigmoid of its own.

No one-hot array of classes is made: the probability of each voxel's true class is gathered, and summed by class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from voxgraft.plugin import TrainingError

from .options import CrossEntropyOptions, DiceCEOptions, DiceOptions


class DiceCE:
    """A weighted sum of Dice and cross-entropy; a part without options is left out.

    Dice is 1 - mean over the structures of `(2 |P & T| + smooth) / (|P| + |T| + smooth)` with probabilities P
    (Milletari et al. 2016, without squares); background has no term. Cross-entropy is the mean over voxels (and
    regions) of `-log p` of the truth, weighted by class (region); 0 where no voxel counts.

    Args:
        shares: The weights of Dice and of cross-entropy.
    """

    def __init__(
        self, dice: DiceOptions | None, entropy: CrossEntropyOptions | None, shares: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        self._dice, self._entropy, self._shares = dice, entropy, shares

    def __call__(self, logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
        """The loss from logits (batch, class, *spatial) and a target; see `voxgraft.training.loss.Loss`.

        Raises:
            TrainingError: There is not one class weight for each class or region.
        """
        with torch.autocast(logits.device.type, enabled=False):
            precise = logits if logits.dtype == torch.float64 else logits.float()
            scores = (_Regions if target.ndim == logits.ndim else _Classes)(precise, target, counted)
            terms = []
            if self._dice is not None:
                dice = _dice(*scores.sums(), self._dice).to(precise.dtype)
                terms.append(self._shares[0] * (1 - dice))
            if self._entropy is not None:
                terms.append(self._shares[1] * _mean(*scores.entropies(self._entropy.class_weights)))
            return sum(terms[1:], terms[0])


def cross_entropy(options: CrossEntropyOptions) -> DiceCE:
    return DiceCE(None, options)


def dice_ce(options: DiceCEOptions) -> DiceCE:
    return DiceCE(options, options, (options.dice, options.cross_entropy))


class _Classes:
    """Of which each voxel has one, 0 is background, and the target (batch, *spatial) holds indices."""

    def __init__(self, logits: Tensor, target: Tensor, counted: Tensor | None) -> None:
        self._logs, self._target, self._counted = logits.log_softmax(1), target, counted
        self._truth = self._logs.gather(1, target[:, None]).squeeze(1)

    def sums(self) -> tuple[Tensor, Tensor]:
        """Overlap, and voxels found plus true ones: (batch, structure).

        They are added up in float64: float32 stops counting at some ten million voxels.
        """
        samples, classes = self._logs.shape[:2]
        first = torch.arange(samples, device=self._logs.device) * classes
        bins = (self._target.flatten(1) + first[:, None]).flatten()
        found, right, weights = self._logs.exp(), self._truth.exp(), None
        if self._counted is not None:
            found, right, weights = found * self._counted[:, None], right * self._counted, self._counted.flatten()
        overlap = torch.zeros(samples * classes, dtype=torch.float64, device=self._logs.device)
        overlap = overlap.index_add(0, bins, right.flatten().double()).reshape(samples, classes)
        true = torch.bincount(bins, None if weights is None else weights.double(), minlength=samples * classes)
        both = found.flatten(2).sum(2).double() + true.reshape(samples, classes)
        return overlap[:, 1:], both[:, 1:]

    def entropies(self, weights: Sequence[float] | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """`-log p` of the truth, the weight of each voxel, and which count."""
        if weights is None:
            return -self._truth, None, self._counted
        _check(weights, self._logs.shape[1], "classes (background is the first)")
        return -self._truth, self._truth.new_tensor(weights)[self._target], self._counted


class _Regions:
    """That may overlap, none of them background; the target holds 0 and 1 of the shape of the logits."""

    def __init__(self, logits: Tensor, target: Tensor, counted: Tensor | None) -> None:
        self._logits, self._target = logits, target.to(logits.dtype)
        self._counted = None if counted is None else counted[:, None]

    def sums(self) -> tuple[Tensor, Tensor]:
        """Overlap, and voxels found plus true ones: (batch, region), float64."""
        found, truth = self._logits.sigmoid(), self._target
        if self._counted is not None:
            found, truth = found * self._counted, truth * self._counted
        overlap, *both = (each.flatten(2).sum(2).double() for each in (found * truth, found, truth))
        return overlap, both[0] + both[1]

    def entropies(self, weights: Sequence[float] | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """`-log p` of the truth, the weight of each region, and which voxels count."""
        each = functional.binary_cross_entropy_with_logits(self._logits, self._target, reduction="none")
        if weights is None:
            return each, None, self._counted
        _check(weights, each.shape[1], "regions (there is none for background)")
        return each, each.new_tensor(weights).reshape(1, -1, *[1] * (each.ndim - 2)), self._counted


def _check(weights: Sequence[float], number: int, of: str) -> None:
    if len(weights) != number:
        raise TrainingError(f"training.loss: class_weights has {len(weights)} numbers for {number} {of}")


def _dice(overlap: Tensor, both: Tensor, options: DiceOptions) -> Tensor:
    if options.batch:
        overlap, both = overlap.sum(0), both.sum(0)
    return ((2 * overlap + options.smooth) / (both + options.smooth)).mean()


def _mean(each: Tensor, weights: Tensor | None, counted: Tensor | None) -> Tensor:
    if weights is None and counted is None:
        return each.mean()
    share = torch.ones_like(each) if weights is None else weights.expand_as(each)
    if counted is not None:
        share = share * counted
    return (each * share).sum() / share.sum().clamp_min(torch.finfo(each.dtype).tiny)
