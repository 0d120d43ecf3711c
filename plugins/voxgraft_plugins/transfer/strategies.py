"""Freezing, fine-tuning, layer-wise learning rates.

Frozen means three things: the weights do not move, BatchNorm's statistics do not move, and the part behaves in training
as it does in prediction (no batch statistics, no dropout, no stochastic depth). The last one is what implementations
miss; it is done by putting the modules into evaluation mode again after every `train()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from voxgraft.plugin import CHANNELS_LAST, Context, Crop, Row, TrainingError, TransferStrategy

from .options import BnOnlyOptions, FineTuneOptions, FreezeOptions, LayerDecayOptions
from .own import OwnStrategy
from .stages import (
    ENCODER,
    Holder,
    bare_norms,
    belongs,
    encoder_stages,
    hold_norms,
    is_loaded,
    loaded_modules,
    modules_in,
    shallow_stages,
    stage_of,
)

TUNES = frozenset({"fine-tune", "lp-ft", "gradual", "layer-decay", "bn-only", "delta", "lora", "clip"})
"""Strategies that are about how the encoder learns."""


class Freeze(OwnStrategy):
    """Nothing that was loaded into the frozen stages changes: feature extraction, for good or for a part of the budget.

    Every parameter stays registered with the optimiser; a frozen one has no gradient and is skipped. With `cache`
    training goes over fixed patches, and what the encoder makes of each is computed once.
    """

    name = "freeze"
    once = False

    def __init__(self, options: FreezeOptions) -> None:
        self._until, self._stages = options.until, options.stages
        self._prefixes: list[str] = []
        self._holder = Holder()
        self.crops = options.crops if options.cache else None
        self._memory = options.memory * 2**30
        self._known: dict[Crop, list[Tensor]] = {}

    @property
    def for_good(self) -> bool:
        """Whether the whole encoder stays frozen."""
        return self._until is None and self._stages == "all"

    @property
    def until(self) -> float:
        """The share of the budget after which all that is to learn does."""
        return self._until or 0.0

    def conflict(self, other: TransferStrategy) -> str | None:
        if self.for_good and other.name in TUNES:
            return "the encoder is frozen for good; give freeze 'until' or 'stages', or leave one of the two out"
        if self.crops is not None and type(other).inputs is not TransferStrategy.inputs:
            return "features of images that are changed at every step cannot be cached; set freeze.cache to false"
        return super().conflict(other)

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        """Find what is frozen.

        Raises:
            TrainingError: There are no such stages; or maps are to be kept that change while training goes on.
        """
        self._prefixes = [ENCODER]
        if self._stages != "all":
            self._prefixes = shallow_stages(context.network, self._stages, "freeze.stages")
        names = [name for name, _ in context.network.named_parameters() if belongs(name, self._prefixes)]
        new = [name for name in names if not is_loaded(name, context)]
        if self.crops is not None and new:
            raise TrainingError(
                f"transfer: freeze.cache cannot keep what the encoder makes, as {len(new)} of its parameters are not "
                f"in the weights and learn ({new[0]}); set cache to false"
            )
        if self.crops is not None and bare_norms(context.network, context):
            raise TrainingError(
                "transfer: freeze.cache cannot keep what the encoder makes, as the weights lack the statistics of its "
                "BatchNorm layers, which follow the images; set cache to false, or take weights that hold them"
            )
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        """Frozen for good is not trained; frozen for a while is."""
        if self._until is not None:
            return list(rows)
        return [row.but(train=False) if self._is_frozen(row.name, context) else row for row in rows]

    def before_step(self, context: Context) -> None:
        frozen = self._frozen(context)
        self._holder.hold(context.network, lambda name: frozen and self._is_frozen(name, context))

    def train_mode(self, context: Context) -> None:
        if self._frozen(context):
            for module in loaded_modules(context.network, self._prefixes, context):
                module.training = False

    def features(self, context: Context, image: Tensor, crops: Sequence[Crop]) -> Sequence[Tensor] | None:
        """The encoder's maps of fixed patches: kept ones, and those of the others, which are kept from now on."""
        if self.crops is None or not crops:
            return None
        new = [index for index, crop in enumerate(crops) if crop not in self._known]
        # One by one on a CPU: its sums differ in the last bits with the number of images, and after a resume other
        # patches are new together.
        size = 1 if image.device.type == "cpu" else max(1, len(new))
        features: dict[Crop, list[Tensor]] = {}
        for start in range(0, len(new), size):
            part = new[start : start + size]
            with torch.no_grad():
                maps = context.network.encoder(image[part])
            features.update({crops[index]: [feature[number] for feature in maps] for number, index in enumerate(part)})
        each = [features.get(crop) or self._known[crop] for crop in crops]
        for crop, maps in features.items():
            size = sum(feature.numel() * feature.element_size() for feature in maps)
            if size <= self._memory:
                self._memory -= size
                self._known[crop] = [feature.clone() for feature in maps]
        memory = CHANNELS_LAST[context.network.dims]
        return [torch.stack(level).contiguous(memory_format=memory) for level in zip(*each, strict=True)]

    def settled(self, context: Context) -> bool:
        return self._until is None or not self._frozen(context)

    def _is_frozen(self, name: str, context: Context) -> bool:
        return belongs(name, self._prefixes) and is_loaded(name, context)

    def _frozen(self, context: Context) -> bool:
        return self._until is None or context.progress < self._until


class FineTune(OwnStrategy):
    """The pretrained part learns more slowly than the new part, its shallow stages perhaps not at all."""

    name = "fine-tune"

    def __init__(self, options: FineTuneOptions) -> None:
        self._factor, self._from_stage, self._keep_norm = options.encoder_lr, options.from_stage, options.keep_norm
        self._frozen: list[str] = []

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        if self._from_stage:
            self._frozen = shallow_stages(context.network, self._from_stage, "fine-tune.from_stage")
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [self._edited(row, context) for row in rows]

    def train_mode(self, context: Context) -> None:
        for module in loaded_modules(context.network, self._frozen, context):
            module.training = False
        if self._keep_norm:
            hold_norms(context)

    def _edited(self, row: Row, context: Context) -> Row:
        if belongs(row.name, self._frozen) and is_loaded(row.name, context):
            return row.but(train=False)
        if belongs(row.name, [ENCODER]) and row.origin == "pretrained":
            return row.but(lr=row.lr * self._factor)
        return row


class LayerDecay(OwnStrategy):
    """The learning rate of the pretrained stage i of n is `lr * decay ** (n - i)`, the decoder's is `lr` (Howard and
    Ruder 2018; Bao et al. 2022). Parameters of the encoder that were not pretrained learn at the full rate."""

    name = "layer-decay"

    def __init__(self, options: LayerDecayOptions) -> None:
        self._decay = options.decay

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        stages = encoder_stages(context.network)
        edited = []
        for row in rows:
            stage = stage_of(row.name, stages)
            if stage is not None and row.origin == "pretrained":
                row = row.but(lr=row.lr * self._decay ** (len(stages) - stage))
            edited.append(row)
        return edited


NORMS: dict[str, tuple[type[nn.Module], ...]] = {
    "batch": (_BatchNorm,),
    "all": (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm),
}


class BnOnly(OwnStrategy):
    """Of the pretrained encoder only the scales and shifts of its normalisation learn (Frankle et al. 2021), and
    BatchNorm's statistics follow the new images; the new parts learn as ever."""

    name = "bn-only"

    def __init__(self, options: BnOnlyOptions) -> None:
        self._kinds, self._adapt = NORMS[options.norms], options.statistics == "adapt"
        self._norms = options.norms

    def conflict(self, other: TransferStrategy) -> str | None:
        if self._adapt and other.name == "delta":
            return "delta compares maps under the pretrained statistics; set bn-only.statistics to keep"
        return super().conflict(other)

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        if not self._tuned(context):
            kind = "BatchNorm" if self._norms == "batch" else "normalisation"
            raise TrainingError(
                f"transfer: bn-only finds no parameters of {kind} in the encoder "
                f"{type(context.network.encoder).__name__}; choose another strategy"
            )
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        tuned = self._tuned(context)
        return [
            row.but(train=False)
            if belongs(row.name, [ENCODER]) and row.origin == "pretrained" and row.name not in tuned
            else row
            for row in rows
        ]

    def train_mode(self, context: Context) -> None:
        bare = bare_norms(context.network, context)
        for module in modules_in(context.network, [ENCODER]):
            if module not in bare and not (self._adapt and isinstance(module, self._kinds)):
                module.training = False

    def _tuned(self, context: Context) -> set[str]:
        return {
            f"{name}.{key}"
            for name, module in context.network.named_modules()
            if isinstance(module, self._kinds) and belongs(name, [ENCODER])
            for key, _ in module.named_parameters(recurse=False)
        }
