"""Options of the losses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from voxgraft.plugin import Options

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class DiceOptions(Options):
    """Options of the soft Dice loss."""

    smooth: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Voxels added above and below the fraction: a structure that is absent and not predicted adds no loss."""

    batch: bool = True
    """Count voxels over the whole batch rather than in each sample: steadier where structures are small."""


class CrossEntropyOptions(Options):
    """Options of cross-entropy."""

    class_weights: Annotated[tuple[Weight, ...], Field(min_length=1)] | None = None
    """A weight for each class, background first (for each region, where the network finds regions); by default all
    voxels count alike."""


class DiceCEOptions(DiceOptions, CrossEntropyOptions):
    """Options of Dice plus cross-entropy."""

    dice: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """The weight of Dice."""

    cross_entropy: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """The weight of cross-entropy."""
