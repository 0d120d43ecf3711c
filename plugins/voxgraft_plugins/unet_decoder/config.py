"""Options of the U-Net decoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from voxgraft.config import Config

Width = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]


class UNetConfig(Config):
    """Options of the U-Net decoder. A decoded map is as wide as the encoder's map beside it, within two limits."""

    width: Width = 16
    """At least so many channels."""

    max_width: Width | None = None
    """At most so many channels; by default 128 in 3D and 256 in 2D."""

    convs: Annotated[int, Field(ge=1, le=4)] = 1
    """Convolutions on each level; one is nearly as good as two and trains faster on a CPU."""

    norm: Literal["group", "instance", "batch"] = "group"
    """The normalisation; group is the fastest on a CPU and works with small batches."""

    @model_validator(mode="after")
    def _limits_in_order(self) -> UNetConfig:
        if self.max_width is not None and self.max_width < self.width:
            raise ValueError(f"max_width {self.max_width} is smaller than width {self.width}")
        return self
