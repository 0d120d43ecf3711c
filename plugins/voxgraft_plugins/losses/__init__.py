"""Losses: soft Dice, cross-entropy, and both together."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import LossSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_losses() -> list[LossSpec[Any]]:
    return [
        LossSpec(
            name="dice-ce",
            summary="Soft Dice of the structures plus cross-entropy of all voxels",
            options=late(__name__, ".options:DiceCEOptions"),
            build=late_call(__name__, ".losses:dice_ce"),
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
            build=late_call(__name__, ".losses:cross_entropy"),
        ),
    ]
