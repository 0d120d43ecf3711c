"""Options of the residual encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from voxgraft.plugin import StartValues, weights_option

Width = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]
Blocks = Annotated[int, Field(ge=1, le=16)]


class ResidualOptions(StartValues):
    """Options of the residual encoder."""

    weights: Annotated[str, AfterValidator(weights_option("none"))] = "none"
    """Initial weights: `none`, `file:PATH`, `models:/NAME@ALIAS` for the encoder of a registered model, or
    `hf:OWNER/REPOSITORY`; files may use the names of nnU-Net's residual encoders."""

    width: Width = 16
    """Channels of the first level; each deeper level has twice as many."""

    max_width: Width | None = None
    """Largest number of channels; by default 128 in 3D and 512 in 2D."""

    blocks: Blocks | Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=16)] = 1
    """Residual blocks on each level: one number for all, or one for each from the finest on, the last for those that
    follow. The first level has a plain convolution in place of one."""

    norm: Literal["group", "instance", "batch"] = "group"
    """The normalisation; group is the fastest on a CPU and works with small batches."""
