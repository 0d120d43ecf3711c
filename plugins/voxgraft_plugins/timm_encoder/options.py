"""Options of the timm encoders."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from voxgraft.plugin import Inflation, StartValues, weights_option

LITE0 = "tf_efficientnet_lite0"
"""Its ImageNet weights come as an installable package, and so do those of Lite1 and Lite2."""


class BackboneOptions(StartValues):
    """Options of every backbone."""

    weights: Annotated[str, AfterValidator(weights_option("none", "imagenet"))] = "none"
    """Initial weights: `none`, `imagenet`, `file:PATH`, `models:/NAME@ALIAS` for the encoder of a registered model, or
    `hf:OWNER/REPOSITORY`."""

    download: bool = False
    """Allow downloading ImageNet weights that are not on this computer, from timm's hub."""

    full_resolution: bool = True
    """Add the image itself as the finest feature map, so that the decoder works up to full resolution."""

    inflate: Inflation = "centre"
    """In 3D: how 2D convolutions are inflated to 3D. With `centre` the network starts as exactly the 2D network on
    each slice, with `mean` as its average over slices."""

    slicewise: Annotated[int, Field(ge=0, le=16)] | None = None
    """In 3D: do not inflate; the 2D network sees each slice with this many neighbouring slices on each side as
    channels."""

    named: ClassVar[str]
    """The backbone's name in timm, of an encoder whose options are argument 0."""

    @property
    def backbone(self) -> str:
        """The backbone's name in timm."""
        return self.named.format(self)


class LiteOptions(BackboneOptions):
    """Options of EfficientNet-Lite0."""

    named: ClassVar[str] = LITE0


class Lite1Options(BackboneOptions):
    """Options of EfficientNet-Lite1."""

    named: ClassVar[str] = "tf_efficientnet_lite1"


class Lite2Options(BackboneOptions):
    """Options of EfficientNet-Lite2."""

    named: ClassVar[str] = "tf_efficientnet_lite2"


class TimmOptions(BackboneOptions):
    """Options of a timm encoder."""

    named: ClassVar[str] = "{0.model}"

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?$")] = LITE0
    """The backbone's name in timm."""


class ResNetOptions(BackboneOptions):
    """Options of ResNet (He et al. 2016)."""

    named: ClassVar[str] = "resnet{0.variant}"

    variant: Literal[18, 34, 50, 101, 152] = 50
    """Layers."""


class VggOptions(BackboneOptions):
    """Options of VGG with BatchNorm (Simonyan and Zisserman 2015)."""

    named: ClassVar[str] = "vgg{0.variant}_bn"

    variant: Literal[11, 13, 16, 19] = 16
    """Layers."""


class InceptionOptions(BackboneOptions):
    """Options of Inception (Szegedy et al. 2016)."""

    named: ClassVar[str] = "inception_{0.variant}"

    variant: Literal["v3", "v4", "resnet_v2"] = "v3"
    """Version."""


class DenseNetOptions(BackboneOptions):
    """Options of DenseNet (Huang et al. 2017)."""

    named: ClassVar[str] = "densenet{0.variant}"

    variant: Literal[121, 161, 169, 201] = 121
    """Layers."""


class EfficientNetOptions(BackboneOptions):
    """Options of EfficientNet (Tan and Le 2019), as its authors pad and normalise."""

    named: ClassVar[str] = "tf_efficientnet_{0.variant}"

    variant: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0"
    """Size."""


class MobileNetOptions(BackboneOptions):
    """Options of MobileNet (Howard et al. 2019, Sandler et al. 2018)."""

    named: ClassVar[str] = "mobilenet{0.variant}_100"

    variant: Literal["v2", "v3_small", "v3_large"] = "v3_large"
    """Version."""


class ConvNeXtOptions(BackboneOptions):
    """Options of ConvNeXt (Liu et al. 2022)."""

    named: ClassVar[str] = "convnext_{0.variant}"

    variant: Literal["atto", "femto", "pico", "nano", "tiny", "small", "base", "large"] = "tiny"
    """Size."""


class SwinOptions(BackboneOptions):
    """Options of the Swin transformer (Liu et al. 2021); in 3D it works slice by slice."""

    named: ClassVar[str] = "swin_{0.variant}_patch4_window7_224"

    variant: Literal["tiny", "small", "base", "large"] = "tiny"
    """Size."""

    slicewise: Annotated[int, Field(ge=0, le=16)] = 0
    """In 3D: the network sees each slice with this many neighbouring slices on each side as channels."""


class VitOptions(BackboneOptions):
    """Options of the plain vision transformer (Dosovitskiy et al. 2021) with ViTDet's simple feature pyramid (Li et al.
    2022); in 3D it works slice by slice."""

    named: ClassVar[str] = "vit_{0.variant}_patch16_224"

    variant: Literal["tiny", "small", "base", "large"] = "tiny"
    """Size; patches of 16 pixels."""

    slicewise: Annotated[int, Field(ge=0, le=16)] = 0
    """In 3D: the network sees each slice with this many neighbouring slices on each side as channels."""
