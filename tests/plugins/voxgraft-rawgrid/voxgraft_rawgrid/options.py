"""Options of the example plugin."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from voxgraft.plugin import Options


class RawGridOptions(Options):
    """Options of the rawgrid reader: it has none."""


class MicroOptions(Options):
    """Options of the micro modality."""

    offset: Annotated[float, Field(ge=0)] = 1.0
    """Added to the counts before the logarithm is taken."""
