"""Magnitude pruning with re-training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from voxgraft.plugin import Context, SegmentationNetwork, TrainingError, TransferStrategy

from .options import PruneOptions
from .own import OwnStrategy
from .stages import belongs
from .strategies import Freeze
from .unfreezing import Gradual

PARTS = {"network": ["encoder", "decoder"], "encoder": ["encoder"], "decoder": ["decoder"]}


class Prune(OwnStrategy):
    """After a share of the budget the smallest weights become zero and stay zero, the others go on learning (Han et
    al. 2015). Of n weights exactly `round(amount * n)` are pruned; norms, biases and heads are left alone, and so is
    what the parameter table says is not trained.

    The masks are kept with checkpoints, and hold for the running average as well, so that what is kept is sparse.
    """

    name = "prune"
    needs = frozenset[str]()

    def __init__(self, options: PruneOptions) -> None:
        self._amount, self._at, self._part, self._parts = options.amount, options.at, options.part, PARTS[options.part]
        self._layerwise = options.by == "layer"
        self._masks: dict[str, Tensor] = {}

    def conflict(self, other: TransferStrategy) -> str | None:
        if "encoder" in self._parts:
            if isinstance(other, Freeze) and other.for_good:
                return "pruning would change the encoder that is frozen for good; set prune.part to decoder"
            if isinstance(other, (Freeze, Gradual)) and other.until > self._at:
                return f"pruning would change the encoder while it is frozen; set prune.at to {other.until:g} or later"
        return super().conflict(other)

    def before_step(self, context: Context) -> None:
        """Masks are applied before the step as well as after it: others of the stack may move weights after that.

        Raises:
            TrainingError: Nothing that could be pruned is trained.
        """
        if not self._candidates(context, context.network):
            raise TrainingError(
                f"transfer: prune finds no weights that are trained in the {self._part}; choose another prune.part, or "
                "leave prune out"
            )
        if not self._masks and context.progress >= self._at:
            self._masks = self._chosen(context, context.network)
        _apply(self._masks, context.network)

    def after_step(self, context: Context) -> None:
        _apply(self._masks, context.network)

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        """What is kept before the time to prune has come is pruned as it is."""
        _apply(self._masks or self._chosen(context, network), network)
        return network

    def settled(self, context: Context) -> bool:
        return bool(self._masks)

    def state_dict(self) -> dict[str, Any]:
        return {"masks": self._masks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._masks = dict(state["masks"])

    def _candidates(self, context: Context, network: nn.Module) -> dict[str, nn.Parameter]:
        fixed = {row.name for row in context.rows if not row.train}
        return {
            name: parameter
            for name, parameter in network.named_parameters()
            if parameter.ndim > 1 and belongs(name, self._parts) and name not in fixed
        }

    @torch.no_grad()
    def _chosen(self, context: Context, network: nn.Module) -> dict[str, Tensor]:
        """Masks that are true where a weight is kept."""
        weights = {name: weight.detach().abs() for name, weight in self._candidates(context, network).items()}
        if self._layerwise:
            return {name: _kept(weight.flatten(), self._amount).view(weight.shape) for name, weight in weights.items()}
        kept = _kept(torch.cat([weight.flatten() for weight in weights.values()]), self._amount)
        pieces = torch.split(kept, [weight.numel() for weight in weights.values()])
        return {name: piece.view(weight.shape) for (name, weight), piece in zip(weights.items(), pieces, strict=True)}


@torch.no_grad()
def _apply(masks: dict[str, Tensor], network: nn.Module) -> None:
    """A mask is brought to where the weights are once, not in every step."""
    parameters = dict(network.named_parameters())
    for name, mask in masks.items():
        masks[name] = mask.to(parameters[name].device)
        parameters[name].masked_fill_(~masks[name], 0.0)


def _kept(magnitudes: Tensor, amount: float) -> Tensor:
    """True for all but the `round(amount * n)` smallest; among equal ones the first go first."""
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.argsort(stable=True)[: round(amount * magnitudes.numel())]] = False
    return kept
