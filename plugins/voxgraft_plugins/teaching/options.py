"""Options of the strategies that learn from more than the labelled batch."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Field, model_validator

from voxgraft.plugin import Options, StrategyOptions

Positive = Annotated[float, Field(gt=0, le=1e6)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1e3)]
Temperature = Annotated[float, Field(ge=0.01, le=1e3)]
Share = Annotated[float, Field(gt=0, le=1)]
Follows = Literal["labelled", "unlabelled"]


class DistilOptions(StrategyOptions):
    """Options of distil."""

    teacher: Annotated[str, MinLen(1)]
    """The model to learn from: a package, models:/NAME@ALIAS or models:/NAME/VERSION."""

    weight: Weight = 1.0
    """Weight of the divergence of the outputs."""

    temperature: Temperature = 2.0
    """Outputs are softened by it; the term is multiplied by its square."""

    features: Weight = 0.0
    """Weight of the squared distance of the encoder's map, through a learnt 1x1 convolution, from the teacher's."""

    level: int = -1
    """Which map of the encoder: counted from the finest, 0, or from the coarsest, -1."""

    @property
    def teachers(self) -> tuple[str, ...]:
        return (self.teacher,)

    @model_validator(mode="after")
    def _something_is_learnt(self) -> DistilOptions:
        if self.weight == 0 and self.features == 0:
            raise ValueError("weight and features are both 0: nothing is learnt from the teacher")
        return self


class MeanTeacherOptions(Options):
    """Options of mean-teacher."""

    weight: Positive = 0.1
    """The weight of consistency at the end of the ramp."""

    ramp: Share = 1.0
    """The share of the budget in which the weight rises, by exp(-5 (1 - t)^2)."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the teacher's running average; in step k it is min(1 - 1 / (k + 1), decay)."""

    noise: Weight = 0.1
    """Standard deviation of the noise on the teacher's image, cut off at twice that."""

    threshold: bool = False
    """Leave out voxels of which the teacher is uncertain (UA-MT): entropy above 0.75 to 1 times its largest value."""

    passes: Annotated[int, Field(ge=1, le=1000)] = 8
    """With threshold: number of noisy passes of the teacher that estimate its uncertainty."""

    keep: Literal["teacher", "student"] = "student"
    """Which of the two becomes the model. The student is kept with the running average of its weights, as without
    this strategy; the teacher's average keeps more of the first steps of a short training."""

    statistics: Follows = "labelled"
    """Which scans BatchNorm's statistics follow."""


class CoTrainingOptions(StrategyOptions):
    """Options of co-training."""

    form: Literal["mutual", "pseudo", "both"] = "mutual"
    """`mutual`: each learns the other's probabilities on labelled patches; `pseudo`: the other's decision on unlabelled
    ones, as if it were the label."""

    weight: Positive = 1.0
    """The weight of what is learnt from the other, at the end of the ramp."""

    ramp: Share = 0.25
    """The share of the budget in which the weight rises, by exp(-5 (1 - t)^2)."""

    temperature: Temperature = 1.0
    """For mutual: probabilities are softened by it; the term is multiplied by its square."""

    seed: int = 1
    """Seed for the new parts of the second network, in addition to the seed of the training."""

    statistics: Follows = "labelled"
    """Which scans BatchNorm's statistics follow."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.form == "mutual" else frozenset({"unlabelled"})


class AdversarialOptions(Options):
    """Options of adversarial."""

    level: Literal["features", "entropy"] = "features"
    """What the domain classifier sees: a map of the encoder, or -p log p of the outputs."""

    stage: int = -1
    """For features: which map, counted from the finest, 0, or from the coarsest, -1."""

    strength: Positive | None = None
    """Factor of the reversed gradient at the end of its ramp; by default 0.1 for features and 0.001 for
    entropy."""

    width: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels of the classifier's first convolution."""

    lr: Rate = 1e-4
    """Highest learning rate of the classifier."""

    statistics: Follows = "unlabelled"
    """Which scans BatchNorm's statistics follow; the model is for those without labels."""


class MultiTaskOptions(Options):
    """Options of multi-task."""

    branches: Annotated[tuple[Literal["boundary", "reconstruction", "presence"], ...], MinLen(1)] = ("boundary",)
    """What is predicted in addition: the distance to each structure's border, the image, or which structures it
    contains."""

    weighting: Literal["equal", "uncertainty", "dwa", "pcgrad"] = "equal"
    """How the losses are combined: added; weighted by Kendall's learnt uncertainties; weighted by the rates at which
    they fall; or without the conflicting parts of their gradients."""

    weight: Positive = 1.0
    """Factor of the loss of each branch, before weighting."""

    reach: Positive = 10.0
    """For boundary: millimetres from the border at which distances are clipped."""

    temperature: Temperature = 2.0
    """For dwa: temperature; larger values make the weights more even."""

    interval: Annotated[int, Field(ge=1, le=10**6)] = 20
    """For dwa: steps whose mean losses are compared with those of as many before."""

    lr: Rate = 1e-2
    """For uncertainty: the highest learning rate of the learnt uncertainties."""

    @model_validator(mode="after")
    def _each_once(self) -> MultiTaskOptions:
        if len(set(self.branches)) != len(self.branches):
            raise ValueError("branches: name each only once")
        return self


class SelfSupervisedOptions(StrategyOptions):
    """Options of self-supervised."""

    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """The share of the blocks that are masked."""

    block: Annotated[int, Field(ge=1, le=1024)] = 8
    """Voxels of a block along each axis."""

    @property
    def supervised(self) -> bool:
        return False
