"""LoRA for convolutions and linear layers (Hu et al. 2021), merged exactly when the network is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from voxgraft.plugin import Context, Row, SegmentationNetwork, TrainingError

from .options import LoraOptions
from .own import OwnStrategy
from .stages import ENCODER, belongs, hold_norms

KINDS = (nn.Conv2d, nn.Conv3d, nn.Linear)


class LowRank(nn.Module):
    """A weight W (out, in, *kernel) becomes W + alpha / r * B A: A is (r, in * kernel), B is (out, r), zero at first.

    This is the convolution with A (of W's kernel, to r channels) followed by the one with B (1x1). Added to the weight
    it holds for every padding and stride, and merging computes nothing new.
    """

    def __init__(self, weight: Tensor, r: int, alpha: float) -> None:
        super().__init__()
        out, width = weight.shape[0], weight[0].numel()
        rank = min(r, out, width)
        self.scale = alpha / r
        self.down = nn.Parameter(weight.new_empty(rank, width))
        self.up = nn.Parameter(weight.new_zeros(out, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight, in full precision also where the network computes in less."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.scale * (self.up @ self.down).view(weight.shape)


class Lora(OwnStrategy):
    """The pretrained encoder is fixed, its statistics as well; low-rank factors beside its dense layers learn, and the
    new parts as ever. Depthwise and grouped convolutions have no low-rank form that is smaller: they stay as they are,
    unless they are 1x1."""

    name = "lora"

    def __init__(self, options: LoraOptions) -> None:
        self._r, self._alpha = options.r, 2.0 * options.r if options.alpha is None else options.alpha

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        """Take the weights apart; the pretrained ones have other names as well from then on.

        Raises:
            TrainingError: The encoder has no layer that could be adapted.
        """
        adapted = {
            name: module
            for name, module in context.network.named_modules()
            if belongs(name, [ENCODER]) and f"{name}.weight" in context.pretrained and _takes(module)
        }
        if not adapted:
            raise TrainingError("transfer: lora finds no pretrained dense layer in the encoder to adapt")
        for module in adapted.values():
            weight = module.get_parameter("weight")
            parametrize.register_parametrization(module, "weight", LowRank(weight, self._r, self._alpha))
        context.pretrained |= {f"{name}.parametrizations.weight.original" for name in adapted}
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [
            row.but(train=False) if belongs(row.name, [ENCODER]) and row.origin == "pretrained" else row for row in rows
        ]

    def train_mode(self, context: Context) -> None:
        hold_norms(context)

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        """Merge: every weight is what it was computed as, under its own name again."""
        for module in list(network.modules()):
            lists = getattr(module, "parametrizations", {})
            if "weight" in lists and any(isinstance(child, LowRank) for child in lists["weight"].children()):
                _merge(module, lists["weight"]())
        return network


def _takes(module: nn.Module) -> bool:
    """Whether a layer is dense, or pointwise, and is one of those that can be adapted."""
    if not isinstance(module, KINDS) or parametrize.is_parametrized(module):
        return False
    return isinstance(module, nn.Linear) or module.groups == 1 or set(module.kernel_size) == {1}


@torch.no_grad()
def _merge(module: nn.Module, weight: Tensor) -> None:
    """Make an adapted layer the plain layer that it computes as.

    torch's `remove_parametrizations` would take the weight from the class that this layer shares with its copies: those
    (the live network beside its average) could not be used any more.
    """
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    module.weight = nn.Parameter(weight.clone(), requires_grad=False)
