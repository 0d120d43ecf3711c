"""What the strategies of this plugin share: what a spec builds, ramps, and BatchNorm on images of two kinds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from voxgraft.plugin import LINEAR, Context, TrainingError, TransferStrategy


class Teaching(TransferStrategy):
    """A strategy that stands once in a stack, and never beside one that looks at no labels."""

    follows: str | None = None
    """Which scans BatchNorm's statistics follow, where this strategy forwards unlabelled ones."""

    def conflict(self, other: TransferStrategy) -> str | None:
        if other.name == self.name:
            return "the same strategy is there twice"
        if not other.supervised and self.supervised:
            return "the second one uses no labels; put it into a separate workflow and start from its model"
        theirs = getattr(other, "follows", None)
        if self.follows is not None and theirs is not None and self.follows != theirs:
            return "BatchNorm's statistics follow other scans in each; give both the same option 'statistics'"
        return None


def ramp(progress: float, share: float) -> float:
    """exp(-5 (1 - t)^2), where t goes from 0 to 1 in that share of the budget (Laine and Aila 2017)."""
    return math.exp(-5.0 * (1.0 - min(max(progress, 0.0) / share, 1.0)) ** 2)


def unlabelled_of(batch: object) -> tuple[Tensor, Tensor]:
    """A batch's unlabelled images and which of their voxels lie in the scan.

    Raises:
        TrainingError: Training gave none.
    """
    if not isinstance(batch, dict) or "unlabelled" not in batch:
        raise TrainingError("transfer: there are no unlabelled scans; name some with data.unlabelled")
    return batch["unlabelled"], batch["inside"]


@dataclass(slots=True)
class Statistics:
    """Images of two kinds go through a network one kind after the other, each normalised by its own batch, and the
    running statistics follow one kind alone.

    Attributes:
        follows: `labelled` or `unlabelled`.
    """

    follows: str
    _momenta: list[tuple[_BatchNorm, float | None]] = field(default_factory=list)

    def hold(self, network: nn.Module) -> None:
        """Before the pass of labelled images, which the statistics shall not follow where they follow the others."""
        self.release()
        if self.follows == "unlabelled":
            self._momenta = _held(network)

    def release(self) -> None:
        """After the step."""
        for norm, momentum in self._momenta:
            norm.momentum = momentum
        self._momenta = []

    @contextmanager
    def unlabelled(self, network: nn.Module) -> Iterator[None]:
        """The pass of unlabelled images, with gradient."""
        if self.follows == "unlabelled":
            self.release()
            try:
                yield
            finally:
                self._momenta = _held(network)
            return
        held = _held(network)
        counts = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm, _ in held]
        try:
            yield
        finally:
            for (norm, momentum), count in zip(held, counts, strict=True):
                norm.momentum = momentum
                if count is not None and norm.num_batches_tracked is not None:
                    norm.num_batches_tracked.copy_(count)


def _held(network: nn.Module) -> list[tuple[_BatchNorm, float | None]]:
    """With a momentum of 0 a BatchNorm normalises by its batch and leaves its running statistics as they are.

    One that another strategy of the stack holds already is left to it: to give it back is not for both of them.
    """
    held = []
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.momentum != 0.0:
            held.append((module, module.momentum))
            module.momentum = 0.0
    return held


def has_regions(context: Context) -> bool:
    """Whether the network's outputs are sigmoids of regions that may overlap."""
    return context.plan is not None and bool(context.plan.regions)


def levels_of(network: nn.Module) -> tuple[int, ...]:
    """The numbers of channels of an encoder's maps, fine to coarse."""
    return tuple(int(width) for width in network.encoder.channels)  # type: ignore[union-attr]


def map_at(values: tuple[int, ...], level: int, option: str) -> int:
    """The value at a level.

    Args:
        values: One for each of the encoder's maps, fine to coarse.
        level: The map's number, 0 the finest; -1 is the coarsest.
        option: What asks for it, for the message.

    Raises:
        TrainingError: The encoder has no such level.
    """
    if not -len(values) <= level < len(values):
        raise TrainingError(f"transfer: {option} is {level}, but the encoder has {len(values)} maps, 0 the finest")
    return values[level]


def resized(x: Tensor, like: Tensor) -> Tensor:
    """A map (batch, channel, *spatial) at the size of another, linearly between voxels."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return functional.interpolate(x, like.shape[2:], mode=LINEAR[x.ndim - 2], align_corners=False)


@torch.no_grad()
def noisy(image: Tensor, deviation: float) -> Tensor:
    """With Gaussian noise, cut at twice its deviation."""
    return image + (torch.randn_like(image) * deviation).clamp(-2 * deviation, 2 * deviation)
