"""MONAI's U-Net decoder, that of its FlexibleUNet, over maps of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from voxgraft.plugin import GROUPS, DecoderModule, conv_norm_act

from .options import MonaiUNetOptions
from .parts import check_maps, enlarged, level_widths

NORMS: dict[str, Any] = {
    "group": ("group", {"num_groups": GROUPS}),
    "instance": ("instance", {"affine": True}),
    "batch": ("batch", {}),
}
"""MONAI's words for the norms."""


class MonaiUNetDecoder(DecoderModule):
    """The blocks of MONAI's decoder; its own loop pads by one voxel at most and takes doubled strides only.

    MONAI's last block, which enlarges beyond the finest map without a skip, is left out.
    """

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: MonaiUNetOptions
    ) -> None:
        super().__init__()
        widths = level_widths(dims, channels, options)
        self.channels, self._maps = tuple(widths), len(channels)
        if len(channels) == 1:
            self.blocks = nn.ModuleList([conv_norm_act(dims, channels[0], widths[0], norm=options.norm)])
            return
        from monai.networks.nets.flexible_unet import UNetDecoder

        decoder = UNetDecoder(
            spatial_dims=dims,
            encoder_channels=[1, *channels],
            decoder_channels=[*reversed(widths), widths[0]],
            act=("relu", {"inplace": True}),
            norm=NORMS[options.norm],
            dropout=0.0,
            bias=False,
            upsample=options.upsample,
            pre_conv="default",
            interp_mode="nearest",
            align_corners=None,
            is_pad=True,
        )
        self.blocks = decoder.blocks[:-1]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps("monai-unet", maps, self._maps)
        if self._maps == 1:
            return [self.blocks[0](maps[0])]
        decoded: list[Tensor] = []
        x = maps[-1]
        for block, fine in zip(self.blocks, reversed(maps[:-1]), strict=True):
            x = block.upsample(x)  # type: ignore[operator]
            size = fine.shape[2:]
            if any(have - want not in (0, 1) for have, want in zip(x.shape[2:], size, strict=True)):
                x = enlarged(x, size, (1,) * len(size))
            for axis, want in enumerate(size, start=2):
                x = x.narrow(axis, 0, want)
            x = block.convs(torch.cat([fine, x], 1))  # type: ignore[operator]
            decoded.insert(0, x)
        return decoded
