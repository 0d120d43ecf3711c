"""Names of nnU-Net's residual encoders (Isensee et al. 2024), whose blocks compute what those here compute.

There a stem stands before the first level's blocks; here it is the first convolution of that level. Their convolutions
have biases, which the InstanceNorm behind takes away again: they are not needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from voxgraft.plugin import match_names

STEM = re.compile(r"(.*?)stem\.convs\.0\.(conv|norm)\.(weight|bias)")
BLOCK = re.compile(r"(.*?)stages\.(\d+)\.blocks\.(\d+)\.(conv1|conv2|skip\.\d)\.(conv|norm)\.(weight|bias)")
PLACES = {"conv1": ("body.0.0", "body.0.1"), "conv2": ("body.1", "body.2")}
"""Convolution and norm of each."""


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of `ResidualLevels`, whatever their prefix; others keep theirs."""
    named = {_renamed(name): tensor for name, tensor in tensors.items()}
    return match_names(named, {f"levels.{name.partition('levels.')[2]}" for name in named if "levels." in name})


def _renamed(name: str) -> str:
    """The name here, behind the same prefix."""
    if match := STEM.fullmatch(name):
        prefix, part, kind = match.groups()
        if (part, kind) != ("conv", "bias"):
            return f"{prefix}levels.0.0.{int(part == 'norm')}.{kind}"
    elif match := BLOCK.fullmatch(name):
        prefix, stage, block, where, part, kind = match.groups()
        if (part, kind) != ("conv", "bias"):
            number = int(block) + (stage == "0")
            return f"{prefix}levels.{stage}.{number}.{_place(where, part)}.{kind}"
    return name


def _place(where: str, part: str) -> str:
    norm = part == "norm"
    if where in PLACES:
        return PLACES[where][norm]
    return f"shortcut.{int(where[-1]) + norm}"  # behind the pooling, where there is some
