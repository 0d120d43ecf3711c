"""Attention U-Net (Oktay et al. 2018): what a level takes over from the encoder is weighted voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import CONVOLUTION

from .options import AttentionUNetOptions
from .parts import enlarged, ratio
from .unet import UNetDecoder


class AttentionUNetDecoder(UNetDecoder):
    """The U-Net's levels with a gate on every skip but the finest, which the paper leaves open.

    Where there is only one skip, that one has a gate.
    """

    name = "attention-unet"

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: AttentionUNetOptions
    ) -> None:
        super().__init__(dims, channels, strides, options)
        below = [*self.channels[1:], channels[-1]]
        self._first = 1 if len(self.ups) > 1 else 0
        self.gates = nn.ModuleList(
            AttentionGate(dims, channels[level], below[level], ratio(strides[level], strides[level + 1]))
            for level in range(self._first, len(self.ups))
        )

    def skip(self, level: int, fine: Tensor, below: Tensor) -> Tensor:
        """The encoder's map, weighted by what the level below has seen.

        Args:
            level: Counted from 0, the finest.
            fine: The encoder's map, (batch, channel, *spatial).
            below: The decoded map of the level below, coarser by one stride.
        """
        if level < self._first:
            return fine
        gated: Tensor = self.gates[level - self._first](fine, below)
        return gated


class AttentionGate(nn.Module):
    """The additive gate: `alpha = sigmoid(psi(relu(theta(x) + phi(g))))`, and x is multiplied by alpha.

    `theta` brings x to the coarse grid of g; alpha is brought back to x's grid by linear interpolation.

    Args:
        inside: Channels of x, the encoder's map.
        gating: Channels of g, the coarser map that decides.
        factor: How many times coarser g is.
    """

    def __init__(self, dims: int, inside: int, gating: int, factor: Sequence[int]) -> None:
        super().__init__()
        inner = max(1, inside // 2)
        self.factor = tuple(factor)
        self.theta = CONVOLUTION[dims](inside, inner, self.factor, self.factor, bias=False)  # type: ignore[arg-type]
        self.phi = CONVOLUTION[dims](gating, inner, 1)
        self.psi = CONVOLUTION[dims](inner, 1, 1)

    def weights(self, x: Tensor, g: Tensor) -> Tensor:
        """Alpha, from 0 to 1: (batch, 1, *spatial) in the grid of x."""
        missing = [-size % step for size, step in zip(x.shape[2:], self.factor, strict=True)]
        far_ends = [amount for axis in reversed(missing) for amount in (0, axis)]
        coarse = self.theta(functional.pad(x, far_ends) if any(missing) else x)
        seen = enlarged(self.phi(g), coarse.shape[2:], (1,) * len(self.factor))
        alpha = torch.sigmoid(self.psi(functional.relu(coarse + seen)))
        return enlarged(alpha, x.shape[2:], self.factor)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """The weighted map, as x."""
        return x * self.weights(x, g)
