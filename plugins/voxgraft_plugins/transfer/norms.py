"""Tuning the normalisation layers of the encoder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from voxgraft.plugin import Context, Row, TrainingError, TransferStrategy

from .options import BnOnlyOptions
from .own import OwnStrategy
from .stages import ENCODER, bare_norms, belongs, modules_in
from .strategies import PRETRAINED

NORMS: dict[str, tuple[type[nn.Module], ...]] = {
    "batch": (_BatchNorm,),
    "all": (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm),
}


class BnOnly(OwnStrategy):
    """Of the pretrained encoder only the scales and shifts of its normalisation learn (Frankle et al. 2021), and
    BatchNorm's statistics follow the new images; the new parts learn as ever."""

    name = "bn-only"
    needs = PRETRAINED

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
