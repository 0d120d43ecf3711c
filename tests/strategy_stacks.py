"""Stacks of strategies that tests of training go through."""

from __future__ import annotations

from typing import Any

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.transfer.strategy import TransferStrategy

CPU = {"accelerator": "cpu", "devices": 1}
STACKS: dict[str, list[dict[str, Any]]] = {
    "freeze": [{"use": "freeze"}],
    "freeze until": [{"use": "freeze", "until": "50%"}],
    "freeze cache": [{"use": "freeze", "cache": True, "crops": 2}],
    "fine-tune": [{"use": "fine-tune", "from_stage": 1}],
    "lp-ft": [{"use": "lp-ft", "probe": "50%"}],
    "gradual": [{"use": "gradual", "at": ["25%", "50%", "75%"]}],
    "layer-decay": [{"use": "layer-decay"}],
    "bn-only": [{"use": "bn-only"}],
    "l2-sp": [{"use": "l2-sp"}],
    "l2-sp decoupled": [{"use": "l2-sp", "decoupled": True}],
    "delta": [{"use": "delta", "channels": "measured", "measure": "50%"}],
    "lora": [{"use": "lora"}],
    "clip": [{"use": "clip", "c": 1e-3}],
    "prune": [{"use": "prune", "at": "25%"}],
    "init": [{"use": "init"}],
    "three": [{"use": "gradual", "at": [0, "25%", "50%"]}, {"use": "layer-decay"}, {"use": "l2-sp"}],
    "tuned and pruned": [{"use": "lp-ft", "probe": "25%"}, {"use": "delta"}, {"use": "prune", "at": "25%"}],
    "adapted late": [{"use": "lora"}, {"use": "freeze", "until": "25%"}, {"use": "l2-sp"}, {"use": "init"}],
}


def made(catalogue: Catalogue, name: str) -> list[TransferStrategy]:
    return [choose(catalogue, "strategy", dict(one)).build() for one in STACKS[name]]
