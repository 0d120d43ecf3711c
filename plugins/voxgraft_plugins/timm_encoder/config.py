"""Options of the timm encoders."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from voxgraft.config import Config
from voxgraft.model.pretrained import weights_option

LITE0 = "tf_efficientnet_lite0"
"""The only backbone whose ImageNet weights come as an installable package."""


class LiteConfig(Config):
    """Options of EfficientNet-Lite0."""

    weights: Annotated[str, AfterValidator(weights_option("none", "imagenet"))] = "none"
    """Start values: `none`, `imagenet`, `file:PATH`, or `models:/NAME@ALIAS` for the encoder of a registered model."""

    full_resolution: bool = True
    """The image itself is the finest map, so that the decoder works up to the image's own resolution."""

    @property
    def backbone(self) -> str:
        """The backbone's name in timm."""
        return LITE0


class TimmConfig(LiteConfig):
    """Options of a timm encoder."""

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?$")] = LITE0
    """The backbone's name in timm."""

    @property
    def backbone(self) -> str:
        return self.model

    @model_validator(mode="after")
    def _imagenet_is_for_lite0(self) -> TimmConfig:
        if self.weights == "imagenet" and self.model != LITE0:
            raise ValueError(
                f"weights: ImageNet weights are installable for {LITE0} only; for {self.model} give file:PATH "
                "(other backbones may take the same names and still compute something else)"
            )
        return self
