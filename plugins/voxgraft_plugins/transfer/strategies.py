"""Freezing, fine-tuning, layer-wise learning rates.

Frozen means three things: the weights do not move, BatchNorm's statistics do not move, and the part behaves in training
as it does in prediction (no batch statistics, no dropout, no stochastic depth). The last one is what implementations
miss; it is done by putting the modules into evaluation mode again after every `train()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from voxgraft.model.transfer import Context, Row, TransferStrategy

from .config import FineTuneConfig, FreezeConfig, LayerDecayConfig
from .stages import ENCODER, belongs, encoder_stages, modules_in, shallow_stages, stage_of


@dataclass(frozen=True, slots=True)
class Made:
    """What a card builds: a strategy is made anew for each training."""

    make: Callable[[], TransferStrategy]


class Freeze(TransferStrategy):
    """Nothing of the frozen stages changes: feature extraction (for good) or linear probing first, then fine-tuning
    (Kumar et al. 2022), when it ends after a share of the budget.

    Every parameter stays registered with the optimiser; a frozen one has no gradient and is passed over.
    """

    needs = frozenset({"pretrained"})

    def __init__(self, config: FreezeConfig) -> None:
        self._until, self._stages = config.until, config.stages
        self._prefixes: list[str] = []
        self._held: list[nn.Parameter] = []

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        self._prefixes = [ENCODER]
        if self._stages != "all":
            self._prefixes = shallow_stages(context.network, self._stages, "freeze.stages")
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        """Frozen for good is not trained; frozen for a while is."""
        if self._until is not None:
            return list(rows)
        return [row.but(train=False) if belongs(row.name, self._prefixes) else row for row in rows]

    def before_step(self, context: Context) -> None:
        """Hold what would be trained; when the time has come, let go of exactly that.

        What another strategy holds for good is left to it, in whatever order the two stand.
        """
        if self._frozen(context):
            for name, parameter in context.network.named_parameters():
                if parameter.requires_grad and belongs(name, self._prefixes):
                    parameter.requires_grad_(False)
                    self._held.append(parameter)
        else:
            for parameter in self._held:
                parameter.requires_grad_(True)
            self._held.clear()

    def train_mode(self, context: Context) -> None:
        if self._frozen(context):
            for module in modules_in(context.network, self._prefixes):
                module.training = False

    def _frozen(self, context: Context) -> bool:
        return self._until is None or context.progress < self._until


class FineTune(TransferStrategy):
    """The pretrained part learns more slowly than the new part, its shallow stages perhaps not at all."""

    needs = frozenset({"pretrained"})

    def __init__(self, config: FineTuneConfig) -> None:
        self._factor, self._from_stage, self._keep_norm = config.encoder_lr, config.from_stage, config.keep_norm
        self._frozen: list[str] = []

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        if self._from_stage:
            self._frozen = shallow_stages(context.network, self._from_stage, "fine-tune.from_stage")
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [self._edited(row) for row in rows]

    def train_mode(self, context: Context) -> None:
        for module in modules_in(context.network, self._frozen):
            module.training = False
        if self._keep_norm:
            for module in modules_in(context.network, [ENCODER]):
                if isinstance(module, _BatchNorm):
                    module.training = False

    def _edited(self, row: Row) -> Row:
        if belongs(row.name, self._frozen):
            return row.but(train=False)
        if belongs(row.name, [ENCODER]) and row.origin == "pretrained":
            return row.but(lr=row.lr * self._factor)
        return row


class LayerDecay(TransferStrategy):
    """The learning rate of the pretrained stage i of n is `lr * decay ** (n - i)`, the decoder's is `lr` (Howard and
    Ruder 2018; Bao et al. 2022). Parameters of the encoder that were not pretrained learn at the full rate."""

    needs = frozenset({"pretrained"})

    def __init__(self, config: LayerDecayConfig) -> None:
        self._decay = config.decay

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        stages = encoder_stages(context.network)
        edited = []
        for row in rows:
            stage = stage_of(row.name, stages)
            if stage is not None and row.origin == "pretrained":
                row = row.but(lr=row.lr * self._decay ** (len(stages) - stage))
            edited.append(row)
        return edited
