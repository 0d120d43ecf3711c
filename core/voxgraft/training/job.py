"""What is trained, and what changes while it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from ..networks.network import SegmentationNetwork
from ..preprocessing.plan import Plan
from ..transfer.stack import Stack
from ..transfer.strategy import Context, Row
from ..workflow.sections import Training
from .arithmetic import Arithmetic
from .batches import Batches
from .loss import Loss
from .optimiser import Average


@dataclass(frozen=True, slots=True)
class Job:
    """What is trained, and on what.

    Attributes:
        strengths: The modality's augmentation.
        spacing: Millimetres along the network's axes.
        arithmetic: The numbers, of which Fabric knows, and the order in memory; a checkpoint keeps them.
        identity: A fingerprint of everything that decides the outcome; only its own checkpoint is gone on from.
        look: Scores a network on validation cases, the one that would be kept at that moment; the first number decides
            about patience. A number that is not defined is not a bad score: it is left out.
        report: Called with numbers and the step they belong to.
        say: Called with a line for people.
    """

    network: SegmentationNetwork
    stack: Stack
    rows: Sequence[Row]
    context: Context
    extra: Mapping[str, nn.Module]
    batches: Batches
    plan: Plan
    spacing: tuple[float, ...]
    loss: Loss
    strengths: Mapping[str, float]
    options: Training
    folder: Path
    identity: str
    look: Callable[[SegmentationNetwork], dict[str, float]]
    report: Callable[[dict[str, float], int], None]
    show: Callable[[float, str], None]
    say: Callable[[str], None] = lambda text: None
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    @property
    def part(self) -> tuple[int, int]:
        """Which of how many processes this is: each computes its part of a step's batch."""
        return self.batches.rank, self.batches.world

    @property
    def steps(self) -> float | None:
        """How many steps the budget is; None where it is minutes."""
        budget = self.options.budget
        if budget.unit == "minutes":
            return None
        return budget.amount * (self.batches.epoch_steps if budget.unit == "epochs" else 1)


@dataclass(slots=True)
class State:
    """What changes while training goes on, besides weights."""

    step: int = 0
    seconds: float = 0.0
    looks: int = 0
    best: float = float("-inf")
    without_better: int = 0
    micro: int = 1
    """Into how many parts a batch is cut; doubled when the device's memory runs out."""

    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass(slots=True)
class Live:
    """A job under way.

    Attributes:
        average: The running average of the weights.
        forward: What computes the network's outputs.
        begun: When it would have begun had it not been interrupted, by `time.monotonic`.
    """

    job: Job
    fabric: Fabric
    average: Average[SegmentationNetwork]
    forward: nn.Module
    optimiser: Any
    state: State = field(default_factory=State)
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Of training, those before an interruption counted in."""
        return time.monotonic() - self.begun

    @property
    def progress(self) -> float:
        """The share of the budget that is used up. The first process's clock counts for all: else one would stop a step
        before the others and leave them waiting."""
        steps, budget = self.job.steps, self.job.options.budget
        share = self.seconds / (60 * budget.amount) if steps is None else self.state.step / steps
        return float(self.fabric.broadcast(share))
