"""Torch's words for 2D and 3D images."""

from __future__ import annotations

import torch
from torch import nn

LINEAR = {2: "bilinear", 3: "trilinear"}
"""Linear interpolation."""

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
"""The order in memory that convolutions read fastest: about 1.4 times the speed on a CPU."""


def channels_last(network: nn.Module) -> None:
    """Lay a network's weights in that order, each by its own number of axes: a 3D network may hold 2D convolutions."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim in (4, 5):
            tensor.data = tensor.data.contiguous(memory_format=CHANNELS_LAST[tensor.ndim - 2])
