"""Adversarial adaptation: a classifier tells two data sets apart, and the network learns to make that impossible."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import CONVOLUTION, Context, Output, Row, TransferStrategy

from .options import AdversarialOptions
from .own import Statistics, Teaching, has_regions, levels_of, map_at, unlabelled_of
from .soft import entropy_maps

DISCRIMINATOR = "discriminator"
STRENGTH = {"features": 0.1, "entropy": 1e-3}
SLOPE = 0.2


class Reversal(torch.autograd.Function):
    """The identity, whose gradient is multiplied by minus a factor (Ganin et al. 2016)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        """Give the value as it is.

        Args:
            ctx: Of torch, for the way back.
            value: Of any shape.
            factor: What the gradient is multiplied by, with its sign turned.
        """
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradients[0], None


def reversed_gradient(value: Tensor, factor: float) -> Tensor:
    reversed_: Tensor = Reversal.apply(value, factor)  # type: ignore[no-untyped-call]
    return reversed_


def rise(progress: float) -> float:
    """`2 / (1 + exp(-10 p)) - 1`: from 0 at the start to nearly 1 at the end of the budget (Ganin et al. 2016)."""
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


class Adversarial(Teaching):
    """Gradient reversal on features (DANN, Ganin et al. 2016) or on entropy maps (AdvEnt, Vu et al. 2019, in one step).

    A classifier of patches without BatchNorm sees a map of the encoder, or -p log p of the outputs, of labelled (0) and
    of unlabelled scans (1); its cross-entropy is the term. What flows back into the network is multiplied by
    `-strength * (2 / (1 + exp(-10 p)) - 1)`; the classifier itself learns at full strength. On features neither decoder
    nor heads get a gradient from it. The two kinds of scans go through the network one after the other.
    """

    name = "adversarial"
    needs = frozenset({"unlabelled", "source"})

    def __init__(self, options: AdversarialOptions) -> None:
        self._options = options
        self.follows = options.statistics
        self._strength = options.strength or STRENGTH[options.level]
        self._statistics = Statistics(options.statistics)

    def conflict(self, other: TransferStrategy) -> str | None:
        if self._options.level == "features" and getattr(other, "for_good", False):
            return "the encoder is frozen for good, its maps cannot become alike; set adversarial.level to entropy"
        return super().conflict(other)

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        dims, width = context.network.dims, self._options.width
        if self._options.level == "features":
            channels = map_at(levels_of(context.network), self._options.stage, "adversarial.stage")
            return {DISCRIMINATOR: discriminator(dims, channels, (width, width), (2, 1))}
        widths = (width, 2 * width, 4 * width, 8 * width)
        return {DISCRIMINATOR: discriminator(dims, context.network.classes, widths, (2, 2, 2, 2))}

    def edit_own(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(lr=self._options.lr) if row.name.startswith(f"{DISCRIMINATOR}.") else row for row in rows]

    def train_mode(self, context: Context) -> None:
        self._statistics.hold(context.network)

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        image, _ = unlabelled_of(batch)
        factor = self._strength * rise(context.progress)
        with self._statistics.unlabelled(context.network):
            target = self._of_target(context, image)
        total = image.new_zeros(())
        for seen, domain in ((self._seen(context, output), 0.0), (target, 1.0)):
            logits = context.extra[DISCRIMINATOR](reversed_gradient(seen, factor)).float()
            total = total + 0.5 * functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, domain))
        return {"domain": total}

    def after_step(self, context: Context) -> None:
        self._statistics.release()

    def _of_target(self, context: Context, image: Tensor) -> Tensor:
        if self._options.level == "features":
            target: Tensor = context.network.encoder(image)[self._options.stage]
            return target
        return entropy_maps(context.network(image).logits, has_regions(context))

    def _seen(self, context: Context, output: Output) -> Tensor:
        if self._options.level == "features":
            return output.features[self._options.stage]
        return entropy_maps(output.logits, has_regions(context))


def discriminator(dims: int, channels: int, widths: Sequence[int], steps: Sequence[int]) -> nn.Sequential:
    """Convolutions of three voxels with LeakyReLU between them, and one logit for each patch; nothing normalises.

    Args:
        dims: 2 or 3, the axes in space.
        channels: Of the map that comes in.
        widths: Channels after each convolution but the last, which gives the logit.
        steps: The stride of each of these.
    """
    layers: list[nn.Module] = []
    for width, step in zip(widths, steps, strict=True):
        layers += [CONVOLUTION[dims](channels, width, 3, step, 1), nn.LeakyReLU(SLOPE)]
        channels = width
    return nn.Sequential(*layers, CONVOLUTION[dims](channels, 1, 3, 1, 1))
