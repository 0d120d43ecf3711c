"""Options of MONAI's encoders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from voxgraft.plugin import StartValues, weights_option


class MonaiOptions(StartValues):
    """Options of every encoder of MONAI."""

    weights: Annotated[str, AfterValidator(weights_option("none"))] = "none"
    """Initial weights: `none`, `file:PATH`, `models:/NAME@ALIAS` for the encoder of a registered model, or
    `hf:OWNER/REPOSITORY`."""

    full_resolution: bool = True
    """Add the image itself as the finest feature map if the encoder has none at full resolution."""


class ResNet3dOptions(MonaiOptions):
    """Options of the 3D ResNet (He et al. 2016), as MedicalNet has it (Chen et al. 2019)."""

    variant: Literal[10, 18, 34, 50, 101, 152] = 18
    """Layers."""

    shortcut: Literal["auto", "A", "B"] = "auto"
    """Shortcuts between levels: `A` pads with zeros, `B` convolves; `auto` as MedicalNet's weights have it (A for 18
    and 34 layers)."""

    dilated: bool = False
    """The two deepest levels stay at stride 8 and are dilated instead, as in MedicalNet's own networks; without it
    the same weights work on coarser maps, which is cheaper."""


class SegResNetOptions(MonaiOptions):
    """Options of SegResNet's encoder (Myronenko 2018)."""

    width: Annotated[int, Field(ge=8, le=128, multiple_of=8)] = 16
    """Channels of the first level; each deeper level has twice as many."""

    blocks: Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Field(min_length=2, max_length=6)] = (1, 2, 2, 4)
    """Blocks of each level."""


class SwinUnetrOptions(MonaiOptions):
    """Options of SwinUNETR's encoder (Tang et al. 2022)."""

    width: Literal[12, 24, 36, 48, 60, 96] = 48
    """Channels of the first level; published weights have 48."""


class DenseNet3dOptions(MonaiOptions):
    """Options of the 3D DenseNet (Huang et al. 2017)."""

    variant: Literal[121, 169, 201, 264] = 121
    """Layers."""


class EfficientNet3dOptions(MonaiOptions):
    """Options of the 3D EfficientNet (Tan and Le 2019)."""

    variant: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0"
    """Size."""
