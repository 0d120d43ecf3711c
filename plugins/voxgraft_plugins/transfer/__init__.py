"""Ways of transferring: freeze the encoder, fine-tune it gently, let its learning rate fall with depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import StrategySpec, hookimpl

if TYPE_CHECKING:
    from .config import FineTuneConfig, FreezeConfig, LayerDecayConfig
    from .strategies import Made

PRETRAINED = frozenset({"pretrained"})


@hookimpl
def voxgraft_strategies() -> list[StrategySpec[Any]]:
    return [
        StrategySpec(
            name="freeze",
            summary="Keep the encoder as it is, for good or for the first part of the budget",
            needs=PRETRAINED,
            config=_freeze_config,
            build=_freeze,
        ),
        StrategySpec(
            name="fine-tune",
            summary="Train the pretrained encoder with a smaller learning rate, from a stage on",
            needs=PRETRAINED,
            config=_fine_tune_config,
            build=_fine_tune,
        ),
        StrategySpec(
            name="layer-decay",
            summary="Give shallow stages of the encoder smaller learning rates than deep ones",
            needs=PRETRAINED,
            config=_layer_decay_config,
            build=_layer_decay,
        ),
    ]


def _freeze_config() -> type[FreezeConfig]:
    from .config import FreezeConfig

    return FreezeConfig


def _fine_tune_config() -> type[FineTuneConfig]:
    from .config import FineTuneConfig

    return FineTuneConfig


def _layer_decay_config() -> type[LayerDecayConfig]:
    from .config import LayerDecayConfig

    return LayerDecayConfig


def _freeze(config: FreezeConfig) -> Made:
    from .strategies import Freeze, Made

    return Made(lambda: Freeze(config))


def _fine_tune(config: FineTuneConfig) -> Made:
    from .strategies import FineTune, Made

    return Made(lambda: FineTune(config))


def _layer_decay(config: LayerDecayConfig) -> Made:
    from .strategies import LayerDecay, Made

    return Made(lambda: LayerDecay(config))
