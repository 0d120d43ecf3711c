"""Options of the strategies."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from voxgraft.config import Config


def _share(value: Any) -> Any:
    """'20%' is 0.2; numbers stay as they are."""
    share: Any = value
    if isinstance(value, str) and value.strip().endswith("%"):
        with suppress(ValueError):
            share = float(value.strip()[:-1]) / 100
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"{value!r} is no share of the budget: write it as '20%' or 0.2")
    return share


Share = Annotated[float, BeforeValidator(_share), Field(gt=0, le=1, json_schema_extra={"type": ["number", "string"]})]


class FreezeConfig(Config):
    """Options of freeze: what is fixed are weights, BatchNorm's statistics and behaviour (no dropout there)."""

    until: Share | None = None
    """The share of the training budget after which the encoder is trained as well ('20%'); by default never."""

    stages: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """How many of the encoder's stages are frozen, counted from the image; by default all."""


class FineTuneConfig(Config):
    """Options of fine-tune."""

    encoder_lr: Annotated[float, Field(gt=0, le=1)] = 0.3
    """What the learning rate of pretrained parameters is multiplied with."""

    from_stage: Annotated[int, Field(ge=0)] = 0
    """Stages of the encoder before this one stay frozen; 0 trains all of them."""

    keep_norm: bool = False
    """BatchNorm in the encoder keeps its pretrained statistics: better where batches are small (fewer than 8)."""


class LayerDecayConfig(Config):
    """Options of layer-decay."""

    decay: Annotated[float, Field(gt=0, le=1)] = 0.75
    """The learning rate of a stage over that of the next deeper one; the decoder follows the deepest stage."""
