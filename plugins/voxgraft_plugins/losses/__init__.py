"""Losses: soft Dice, cross-entropy, and both together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import LossSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from voxgraft.plugin import Loss

    from .options import CrossEntropyOptions, DiceCEOptions


@hookimpl
def voxgraft_losses() -> list[LossSpec[Any]]:
    return [
        LossSpec(
            name="dice-ce",
            summary="Soft Dice of the structures plus cross-entropy of all voxels",
            options=late(__name__, ".options:DiceCEOptions"),
            build=_dice_ce,
        ),
        LossSpec(
            name="dice",
            summary="Soft Dice of the structures",
            options=late(__name__, ".options:DiceOptions"),
            build=late_call(__name__, ".losses:DiceCE", None),
        ),
        LossSpec(
            name="cross-entropy",
            summary="Cross-entropy of all voxels",
            options=late(__name__, ".options:CrossEntropyOptions"),
            build=_cross_entropy,
        ),
    ]


def _dice_ce(options: DiceCEOptions) -> Loss:
    from .losses import DiceCE

    return DiceCE(options, options, (options.dice, options.cross_entropy))


def _cross_entropy(options: CrossEntropyOptions) -> Loss:
    from .losses import DiceCE

    return DiceCE(None, options)
