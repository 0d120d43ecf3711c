"""Options of the decoders of segmentation_models_pytorch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from voxgraft.plugin import Options


class SmpOptions(Options):
    """Options of a decoder of segmentation_models_pytorch."""

    model: Literal["unet", "unetplusplus", "manet", "linknet", "fpn", "upernet", "segformer"] = "unet"
    """The architecture whose decoder is used."""

    width: Annotated[int, Field(ge=8, le=1024, multiple_of=8)] = 16
    """Channels of the finest level; of all levels for fpn, upernet and segformer, eight times as many."""

    norm: Literal["batchnorm", "instancenorm"] = "batchnorm"
    """Where the decoder leaves a choice: batchnorm wants batches of some size."""
