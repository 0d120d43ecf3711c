"""Decoders over any encoder, in two and three dimensions: U-Net and its kin, pyramids, sums of scores, DeepLab."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from voxgraft.plugin import DecoderSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from voxgraft.plugin import DecoderModule, Options

DECODERS = {
    "unet": ("unet:UNet", "U-Net decoder: upsample, concatenate, convolve (2D and 3D)"),
    "attention-unet": ("attention:AttentionUNet", "U-Net decoder with a gate on each skip (Oktay 2018; 2D and 3D)"),
    "unetplusplus": ("nested:NestedUNet", "U-Net++: nested, dense skips (Zhou 2018; 2D and 3D)"),
    "fpn": ("fpn:FPN", "Feature pyramid, its levels added (Kirillov 2019; 2D and 3D)"),
    "fcn": ("fcn:FCN", "Scores of the coarsest maps, added (FCN-8s, Long 2015; 2D and 3D)"),
    "deeplabv3": (
        "deeplab:DeepLabV3",
        "Atrous spatial pyramid pooling: convolutions with several dilations (Chen 2017; 2D and 3D)",
    ),
    "deeplabv3plus": ("deeplab:DeepLabV3Plus", "DeepLabV3 joined with a finer map (Chen 2018; 2D and 3D)"),
    "segresnet": ("additive:SegResNet", "Residual blocks, skips added (Myronenko 2018; 2D and 3D)"),
    "linknet": ("additive:LinkNet", "Narrow blocks, skips added (Chaurasia 2017; 2D and 3D)"),
    "unetr": ("unetr:UNETR", "Residual blocks over a transformer's tokens or any maps (Hatamizadeh 2022; 2D and 3D)"),
    "monai-unet": ("monai_unet:MonaiUNet", "The decoder of MONAI's FlexibleUNet (2D and 3D)"),
}
"""The place and the summary of each; its options and its class are called after it."""


@hookimpl
def voxgraft_decoders() -> list[DecoderSpec[Any]]:
    return [
        DecoderSpec(
            name=name,
            summary=summary,
            options=late(__name__, f".options:{place.partition(':')[2]}Options"),
            build=partial(_Maker, late_call(__name__, f".{place}Decoder")),
        )
        for name, (place, summary) in DECODERS.items()
    ]


class _Maker:
    """A decoder of these options: it makes the module for an encoder."""

    def __init__(self, module: Any, options: Options) -> None:
        self._module, self._options = module, options

    def make(self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]]) -> DecoderModule:
        """The module; see `voxgraft.networks.encoder_decoder.Decoder`."""
        made: DecoderModule = self._module(dims, channels, strides, self._options)
        return made
