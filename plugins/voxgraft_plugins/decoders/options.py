"""Options of the decoders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from voxgraft.plugin import Options

Width = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]
Rate = Annotated[int, Field(ge=1, le=256)]


class LevelsOptions(Options):
    """Options of a decoder with a map for each level. It is as wide as the encoder's beside it, within two limits."""

    width: Width = 16
    """Smallest number of channels."""

    max_width: Width | None = None
    """Largest number of channels; by default 128 in 3D and 256 in 2D."""

    norm: Literal["group", "instance", "batch"] = "group"
    """The normalisation; group is the fastest on a CPU and works with small batches."""

    @model_validator(mode="after")
    def _limits_in_order(self) -> LevelsOptions:
        if self.max_width is not None and self.max_width < self.width:
            raise ValueError(f"max_width {self.max_width} is smaller than width {self.width}")
        return self


class UNetOptions(LevelsOptions):
    """Options of the U-Net decoder. A decoded map is as wide as the encoder's map beside it, within two limits."""

    convs: Annotated[int, Field(ge=1, le=4)] = 1
    """Convolutions on each level; one is nearly as good as two and trains faster on a CPU."""


class AttentionUNetOptions(UNetOptions):
    """Options of the attention U-Net; those of the U-Net."""


class NestedUNetOptions(UNetOptions):
    """Options of U-Net++; `convs` is that of each node."""


class LinkNetOptions(LevelsOptions):
    """Options of the LinkNet decoder."""


class SegResNetOptions(LevelsOptions):
    """Options of the SegResNet decoder."""

    blocks: Annotated[int, Field(ge=1, le=8)] = 1
    """Residual blocks on each level."""


class UNETROptions(LevelsOptions):
    """Options of the UNETR decoder."""


class MonaiUNetOptions(LevelsOptions):
    """Options of MONAI's U-Net decoder, that of its FlexibleUNet."""

    upsample: Literal["deconv", "pixelshuffle", "nontrainable"] = "nontrainable"
    """How maps are enlarged; the names are MONAI's, and so is the default."""


class FlatOptions(Options):
    """Options of a decoder whose maps are all of one width."""

    width: Width | None = None
    """Channels; by default 64 in 2D and 32 in 3D."""

    norm: Literal["group", "instance", "batch"] = "group"
    """The normalisation; group is the fastest on a CPU and works with small batches."""


class FPNOptions(FlatOptions):
    """Options of the feature pyramid decoder."""

    finest: Annotated[int, Field(ge=1, le=64)] = 1
    """Maps finer than this stride are left out; 4 in the paper, which is cheaper and loses small structures."""


class FCNOptions(Options):
    """Options of the fully convolutional decoder; it has no norm, since it only adds."""

    width: Width = 32
    """Channels of the scores that are added; at least as many as classes, or the sum of class scores is restricted."""

    levels: Annotated[int, Field(ge=1, le=16)] = 3
    """How many of the coarsest maps are scored: 3 is FCN-8s, 2 is FCN-16s, 1 is FCN-32s, over strides up to 32."""


class DeepLabV3Options(FlatOptions):
    """Options of DeepLabV3."""

    output_stride: Annotated[int, Field(ge=1, le=64)] = 8
    """The pooling uses the coarsest map of at most this stride, concatenated with the coarser ones enlarged to it."""

    rates: tuple[Rate, Rate, Rate] = (6, 12, 18)
    """Dilations at stride 16; they are scaled to other strides and to small maps."""


class DeepLabV3PlusOptions(DeepLabV3Options):
    """Options of DeepLabV3+."""

    output_stride: Annotated[int, Field(ge=1, le=64)] = 16
    """The pooling uses the coarsest map of at most this stride, concatenated with the coarser ones enlarged to it."""

    low_stride: Annotated[int, Field(ge=1, le=64)] = 4
    """Detail comes from the coarsest map of at most this stride: 4 in the paper, 2 or 1 for thin structures."""
