"""Losses: soft Dice, cross-entropy, and both together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import LossSpec, hookimpl

if TYPE_CHECKING:
    from voxgraft.plugin import Loss

    from .options import CrossEntropyOptions, DiceCEOptions, DiceOptions


@hookimpl
def voxgraft_losses() -> list[LossSpec[Any]]:
    return [
        LossSpec(
            name="dice-ce",
            summary="Soft Dice of the structures plus cross-entropy of all voxels",
            options=_dice_ce_options,
            build=_dice_ce,
        ),
        LossSpec(
            name="dice",
            summary="Soft Dice of the structures",
            options=_dice_options,
            build=_dice,
        ),
        LossSpec(
            name="cross-entropy",
            summary="Cross-entropy of all voxels",
            options=_cross_entropy_options,
            build=_cross_entropy,
        ),
    ]


def _dice_ce_options() -> type[DiceCEOptions]:
    from .options import DiceCEOptions

    return DiceCEOptions


def _dice_options() -> type[DiceOptions]:
    from .options import DiceOptions

    return DiceOptions


def _cross_entropy_options() -> type[CrossEntropyOptions]:
    from .options import CrossEntropyOptions

    return CrossEntropyOptions


def _dice_ce(options: DiceCEOptions) -> Loss:
    from .losses import DiceCE

    return DiceCE(options, options, (options.dice, options.cross_entropy))


def _dice(options: DiceOptions) -> Loss:
    from .losses import DiceCE

    return DiceCE(options, None)


def _cross_entropy(options: CrossEntropyOptions) -> Loss:
    from .losses import DiceCE

    return DiceCE(None, options)
