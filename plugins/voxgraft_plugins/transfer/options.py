"""Options of the strategies."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from voxgraft.plugin import Options


def _number(value: Any) -> Any:
    """'20%' is 0.2; numbers stay as they are."""
    if isinstance(value, str) and value.strip().endswith("%"):
        with suppress(ValueError):
            return float(value.strip()[:-1]) / 100
    return value


def _share(value: Any) -> Any:
    share = _number(value)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"{value!r} is not a share of the budget: write it as '20%' or 0.2")
    return share


def _moment(value: Any) -> Any:
    moment = _number(value)
    if isinstance(moment, bool) or not isinstance(moment, (int, float)) or not 0 <= moment < 1:
        raise ValueError(f"{value!r} is not a moment of the budget: write it as '20%' or 0.2, from 0 to below 1")
    return moment


WRITTEN = {"type": ["number", "string"]}
Share = Annotated[float, BeforeValidator(_share), Field(gt=0, le=1, json_schema_extra=WRITTEN)]
Moment = Annotated[float, BeforeValidator(_moment), Field(ge=0, lt=1, json_schema_extra=WRITTEN)]
Factor = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Positive = Annotated[float, Field(gt=0, le=1e6)]


class FreezeOptions(Options):
    """Options of freeze: what is fixed are weights, BatchNorm's statistics and behaviour (no dropout there)."""

    until: Share | None = None
    """The share of the training budget after which the encoder is trained as well ('20%'); by default never."""

    stages: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """How many of the encoder's stages are frozen, counted from the image; by default all."""

    cache: bool = False
    """Train on a fixed set of patches, each augmented once, and compute the encoder's maps of each only once:
    faster, less varied. Only where the whole encoder is frozen for good."""

    crops: Annotated[int, Field(ge=1, le=10**6)] = 16
    """With cache: the number of patches of each case."""

    memory: Annotated[float, Field(ge=0, le=1e6)] = 2.0
    """With cache: GiB of maps that are kept; those beyond are computed each time."""

    @model_validator(mode="after")
    def _cache_is_for_good(self) -> FreezeOptions:
        if self.cache and (self.until is not None or self.stages != "all"):
            raise ValueError("cache: needs the whole encoder frozen for good; leave out until and stages")
        return self


class FineTuneOptions(Options):
    """Options of fine-tune."""

    encoder_lr: Factor = 0.3
    """Factor of the learning rate of pretrained parameters."""

    from_stage: Annotated[int, Field(ge=0)] = 0
    """Stages of the encoder before this one stay frozen; 0 trains all of them."""

    keep_norm: bool = False
    """BatchNorm in the encoder keeps its pretrained statistics: better where batches are small (fewer than 8)."""


class LpFtOptions(Options):
    """Options of lp-ft."""

    probe: Annotated[Share, Field(lt=1)] = 0.15
    """The share of the budget in which the encoder is frozen; the learning-rate schedule restarts after it."""

    encoder_lr: Factor = 0.3
    """Factor of the learning rate of pretrained parameters."""


class GradualOptions(Options):
    """Options of gradual: when the encoder's stages begin to learn, the deepest first."""

    start: Moment = 0.1
    """When the deepest stage begins to learn."""

    end: Moment = 0.5
    """When the shallowest stage begins to learn; those between follow evenly."""

    at: tuple[Moment, ...] | None = None
    """Instead of start and end: the moment of each stage, from the deepest on; stages without one stay frozen."""

    @model_validator(mode="after")
    def _in_order(self) -> GradualOptions:
        moments = (self.start, self.end) if self.at is None else self.at
        if not moments or any(later < earlier for earlier, later in pairwise(moments)):
            raise ValueError("deeper stages begin first: write the moments in rising order")
        return self


class LayerDecayOptions(Options):
    """Options of layer-decay."""

    decay: Factor = 0.75
    """The learning rate of a stage divided by that of the next deeper one; the decoder follows the deepest stage."""


class BnOnlyOptions(Options):
    """Options of bn-only."""

    norms: Literal["batch", "all"] = "batch"
    """Which normalisation learns: BatchNorm, or instance, group and layer normalisation as well."""

    statistics: Literal["adapt", "keep"] = "adapt"
    """Whether BatchNorm's statistics follow the new images."""


class L2SPOptions(Options):
    """Options of l2-sp. In the paper's notation, with a half before each sum, they are twice as large."""

    alpha: Weight = 0.05
    """Weight of the squared distance of pretrained parameters from their initial values."""

    beta: Weight = 0.005
    """Weight of the squared size of new weights."""

    decoupled: bool = False
    """Move weights by lr times the gradient of the penalty after each step, past the optimiser's own scaling."""


class DeltaOptions(Options):
    """Options of delta."""

    weight: Positive = 0.01
    """Weight of the distance of the encoder's maps from the initial ones."""

    channels: Literal["equal", "measured"] = "equal"
    """Whether all channels count alike, or are weighted by how much the segmentation needs them."""

    measure: Share = 0.1
    """With measured channels: the share of the budget during which this is measured, from the moment the encoder is
    trained."""


class LoraOptions(Options):
    """Options of lora."""

    r: Annotated[int, Field(ge=1, le=65536)] = 4
    """The rank of what is added to each weight."""

    alpha: Positive | None = None
    """The added factors are multiplied by alpha / r; by default alpha is 2 r."""


class ClipOptions(Options):
    """Options of clip."""

    c: Positive = 0.05
    """How far a pretrained parameter may move from its initial value."""


class PruneOptions(Options):
    """Options of prune."""

    amount: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The share of the weights that become zero."""

    at: Moment = 0.5
    """When to prune; the rest of the budget is for re-training."""

    part: Literal["network", "encoder", "decoder"] = "network"
    """Which weights to prune; those of the heads are left alone."""

    by: Literal["network", "layer"] = "network"
    """Prune the smallest of all weights together, or of each layer by itself."""


class InitOptions(Options):
    """Options of init."""

    scheme: Literal["he", "xavier"] = "he"
    """The variance: 2 / fan-in, or 2 / (fan-in + fan-out)."""

    distribution: Literal["normal", "uniform"] = "normal"
    """The distribution from which new weights are drawn, with that variance."""


class ChannelDropoutOptions(Options):
    """Options of channel-dropout."""

    p: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The probability with which each optional channel is left out."""

    channels: tuple[str, ...] | None = None
    """Which channels; by default those that data.channels marks as optional."""
