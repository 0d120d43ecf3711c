"""Losses: soft Dice, cross-entropy, and both together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import LossSpec, hookimpl

if TYPE_CHECKING:
    from voxgraft.interfaces import Loss

    from .config import CrossEntropyConfig, DiceCEConfig, DiceConfig


@hookimpl
def voxgraft_losses() -> list[LossSpec[Any]]:
    return [
        LossSpec(
            name="dice-ce",
            summary="Soft Dice of the structures plus cross-entropy of all voxels",
            config=_dice_ce_config,
            build=_dice_ce,
        ),
        LossSpec(
            name="dice",
            summary="Soft Dice of the structures",
            config=_dice_config,
            build=_dice,
        ),
        LossSpec(
            name="cross-entropy",
            summary="Cross-entropy of all voxels",
            config=_cross_entropy_config,
            build=_cross_entropy,
        ),
    ]


def _dice_ce_config() -> type[DiceCEConfig]:
    from .config import DiceCEConfig

    return DiceCEConfig


def _dice_config() -> type[DiceConfig]:
    from .config import DiceConfig

    return DiceConfig


def _cross_entropy_config() -> type[CrossEntropyConfig]:
    from .config import CrossEntropyConfig

    return CrossEntropyConfig


def _dice_ce(config: DiceCEConfig) -> Loss:
    from .losses import DiceCE

    return DiceCE(config)


def _dice(config: DiceConfig) -> Loss:
    from .losses import Dice

    return Dice(config)


def _cross_entropy(config: CrossEntropyConfig) -> Loss:
    from .losses import CrossEntropy

    return CrossEntropy(config)
