"""Options of the deepbet encoder."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from voxgraft.plugin import StartValues, weights_option


class DeepbetOptions(StartValues):
    """Options of the deepbet encoder."""

    weights: Annotated[str, AfterValidator(weights_option("none", "bundled"))] = "none"
    """Initial weights: `none`, `bundled` (those of the package deepbet), `file:PATH`, or `models:/NAME@ALIAS`."""

    levels: Annotated[int, Field(ge=1, le=5)] = 5
    """Use only this many of its maps, counted from the finest; the coarsest of five is 32 times coarser than the
    image."""

    full_resolution: bool = True
    """Add the image itself as the finest feature map, so that the decoder works up to full resolution."""
