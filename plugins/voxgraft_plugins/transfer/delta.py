"""DELTA: stay near the pretrained encoder in what it computes rather than in its weights."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import Context, Output, TrainingError

from .options import DeltaOptions
from .own import OwnStrategy
from .stages import ENCODER, bare_norms, modules_in


class Delta(OwnStrategy):
    """The distance between the encoder's maps and those of a frozen copy of it as it started (Li et al. 2019):
    `weight * sum over levels of the mean over images and voxels of sum over channels a_c (F_c - F0_c)^2`.

    The encoder computes with its pretrained statistics and without dropout, in training as in prediction: only then is
    the distance zero at the start and about weights alone. With measured channels `a_c` is proportional to how much the
    cross-entropy rises when channel c is put out, to first order (`-g F`, summed over voxels, where it is positive),
    and 1 on average; until it is measured it is 1. Measuring begins with the first step in which the encoder learns;
    a map that does not learn by the end of it keeps 1.
    """

    name = "delta"

    def __init__(self, options: DeltaOptions) -> None:
        self._weight, self._measures, self._until = options.weight, options.channels == "measured", options.measure
        self._copy: nn.Module | None = None
        self._since = 0.0
        """How much of the budget was used up when measuring began."""

        self._gains: list[Tensor] = []
        self._attention: list[Tensor] = []

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        """Copy the encoder.

        Raises:
            TrainingError: The weights lack its statistics, so that there are no maps to stay near.
        """
        if bare_norms(context.network, context):
            raise TrainingError(
                "transfer: delta compares maps under the pretrained statistics, and the weights lack those of the "
                "encoder's BatchNorm layers; take weights that hold them, or l2-sp instead of delta"
            )
        self._copy = deepcopy(context.network.encoder).eval().requires_grad_(False)
        return {}

    def before_step(self, context: Context) -> None:
        if self._measures and not self._attention and self._gains and context.progress >= self._since + self._until:
            self._attention = [gain / gain.mean() if gain.any() else torch.ones_like(gain) for gain in self._gains]

    def train_mode(self, context: Context) -> None:
        for module in modules_in(context.network, [ENCODER]):
            module.training = False

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        image = batch["image"]
        copy = self._reference(image.device)
        with torch.no_grad():
            target = copy(image)
        if self._measures and not self._attention and any(feature.requires_grad for feature in output.features):
            self._since = self._since if self._gains else context.progress
            self._measure(_entropy(output.logits, batch["target"], batch.get("counted")), output)
        distance = image.new_zeros(())
        for level, (level_map, start) in enumerate(zip(output.features, target, strict=True)):
            square = (level_map - start).pow(2).flatten(2).mean(2)
            if self._attention:
                square = square * self._attention[level].to(square)
            distance = distance + square.sum(1).mean()
        return {"delta": self._weight * distance}

    def state_dict(self) -> dict[str, Any]:
        copy = {} if self._copy is None else self._copy.state_dict()
        return {"copy": copy, "since": self._since, "gains": self._gains, "attention": self._attention}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._copy is not None:
            self._copy.load_state_dict(state["copy"])
        self._since = float(state["since"])
        self._gains, self._attention = list(state["gains"]), list(state["attention"])

    def _reference(self, device: torch.device) -> nn.Module:
        if self._copy is None:
            raise RuntimeError("delta: prepare() comes first")
        self._copy = self._copy.to(device)
        return self._copy

    def _measure(self, entropy: Tensor, output: Output) -> None:
        """Add up what putting out each channel would cost, by the gradient of the cross-entropy of this batch."""
        maps = [feature for feature in output.features if feature.requires_grad]
        slopes = iter(torch.autograd.grad(entropy, maps, retain_graph=True, allow_unused=True))
        gains = []
        for feature in output.features:
            slope = next(slopes) if feature.requires_grad else None
            loss = torch.zeros_like(feature) if slope is None else -slope * feature.detach()
            gains.append(loss.flatten(2).sum(2).clamp_min(0).sum(0).double().cpu())
        self._gains = [a + b for a, b in zip(self._gains, gains, strict=True)] if self._gains else gains


def _entropy(logits: Tensor, target: Tensor, counted: Tensor | None) -> Tensor:
    """Cross-entropy for class indices, binary cross-entropy for regions: the mean over the voxels that count."""
    if target.is_floating_point():
        each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
    else:
        each = functional.cross_entropy(logits, target, reduction="none")
    return each.mean() if counted is None else (each * counted).sum() / counted.sum().clamp_min(1)
