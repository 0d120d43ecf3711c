"""Decoders over any encoder, in two and three dimensions: U-Net and its kin, pyramids, sums of scores, DeepLab."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from voxgraft.plugin import DecoderSpec, hookimpl


class _Row(NamedTuple):
    """One decoder: its module, its class there, and its options' class in `options`."""

    name: str
    summary: str
    module: str
    factory: str
    options: str


_ROWS = [
    _Row("unet", "U-Net decoder: upsample, concatenate, convolve (2D and 3D)", "unet", "UNetDecoder", "UNetOptions"),
    _Row(
        "attention-unet",
        "U-Net decoder with a gate on each skip (Oktay 2018; 2D and 3D)",
        "attention",
        "AttentionUNetDecoder",
        "AttentionUNetOptions",
    ),
    _Row(
        "unetplusplus",
        "U-Net++: nested, dense skips (Zhou 2018; 2D and 3D)",
        "nested",
        "NestedUNetDecoder",
        "NestedUNetOptions",
    ),
    _Row("fpn", "Feature pyramid, its levels added (Kirillov 2019; 2D and 3D)", "fpn", "FPNDecoder", "FPNOptions"),
    _Row("fcn", "Scores of the coarsest maps, added (FCN-8s, Long 2015; 2D and 3D)", "fcn", "FCNDecoder", "FCNOptions"),
    _Row(
        "deeplabv3",
        "Dilated convolutions of several reaches (Chen 2017; 2D and 3D)",
        "deeplab",
        "DeepLabV3Decoder",
        "DeepLabV3Options",
    ),
    _Row(
        "deeplabv3plus",
        "DeepLabV3 joined with a finer map (Chen 2018; 2D and 3D)",
        "deeplab",
        "DeepLabV3PlusDecoder",
        "DeepLabV3PlusOptions",
    ),
    _Row(
        "segresnet",
        "Residual blocks, skips added (Myronenko 2018; 2D and 3D)",
        "additive",
        "SegResNetDecoder",
        "SegResNetOptions",
    ),
    _Row(
        "linknet",
        "Narrow blocks, skips added (Chaurasia 2017; 2D and 3D)",
        "additive",
        "LinkNetDecoder",
        "LinkNetOptions",
    ),
    _Row(
        "unetr",
        "Residual blocks over a transformer's tokens or any maps (Hatamizadeh 2022; 2D and 3D)",
        "unetr",
        "UNETRDecoder",
        "UNETROptions",
    ),
    _Row(
        "monai-unet",
        "The decoder of MONAI's FlexibleUNet (2D and 3D)",
        "monai_unet",
        "MonaiUNetDecoder",
        "MonaiUNetOptions",
    ),
]


@hookimpl
def voxgraft_decoders() -> list[DecoderSpec[Any]]:
    return [
        DecoderSpec(name=row.name, summary=row.summary, options=_options(row.options), build=_factory(row))
        for row in _ROWS
    ]


def _options(name: str) -> Callable[[], type[Any]]:
    def load() -> type[Any]:
        found: type[Any] = getattr(import_module(".options", __name__), name)
        return found

    return load


def _factory(row: _Row) -> Callable[[Any], Any]:
    def build(options: Any) -> Any:
        return getattr(import_module(f".{row.module}", __name__), row.factory)(options)

    return build
