"""Mean teacher: on unlabelled scans, agree with the average of one's own weights."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from voxgraft.plugin import Context, Output, SegmentationNetwork

from .options import MeanTeacherOptions
from .own import Statistics, Teaching, has_regions, noisy, ramp, unlabelled_of
from .soft import entropy, mean_over, probabilities, squared


class MeanTeacher(Teaching):
    """Mean teacher (Tarvainen and Valpola 2017) as UA-MT (Yu et al. 2019) sets it: the squared difference of the
    probabilities of student and teacher on unlabelled patches, the teacher's with noise; the weight rises as
    `weight * exp(-5 (1 - t)^2)`. The teacher is `a teacher + (1 - a) student` after each step k = 1, 2, ..., with
    `a = min(1 - 1 / (k + 1), decay)`; BatchNorm's statistics are copied. It computes as in prediction.

    With a threshold only voxels count whose entropy, of the mean over several noisy passes, is below
    `0.75 + 0.25 ramp` of the largest.
    """

    name = "mean-teacher"
    needs = frozenset({"unlabelled"})

    def __init__(self, options: MeanTeacherOptions) -> None:
        self._options = options
        self.follows = options.statistics
        self.replaces_network = options.keep == "teacher"
        self._statistics = Statistics(options.statistics)
        self._context: Context | None = None
        self.teacher: SegmentationNetwork | None = None
        self._updates = 0

    def prepare(self, context: Context) -> Mapping[str, Any]:
        self._context = context
        return {}

    def before_step(self, context: Context) -> None:
        self._ready(context)

    def train_mode(self, context: Context) -> None:
        self._statistics.hold(context.network)

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        image, inside = unlabelled_of(batch)
        regions, rise = has_regions(context), ramp(context.progress, self._options.ramp)
        with torch.no_grad():
            teacher = probabilities(self._of_teacher(context, image), regions)
            if self._options.threshold:
                inside = inside & (self._uncertainty(context, image, regions) < 0.75 + 0.25 * rise)
        with self._statistics.unlabelled(context.network):
            student = probabilities(context.network(image).logits, regions)
        return {"consistency": self._options.weight * rise * mean_over(squared(student, teacher), inside)}

    @torch.no_grad()
    def after_step(self, context: Context) -> None:
        self._statistics.release()
        self._updates += 1
        decay = min(1 - 1 / (self._updates + 1), self._options.decay)
        teacher = self._ready(context)
        for average, current in zip(teacher.parameters(), context.network.parameters(), strict=True):
            average.mul_(decay).add_(current, alpha=1 - decay)
        for kept, new in zip(teacher.buffers(), context.network.buffers(), strict=True):
            kept.copy_(new)

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        """A copy of the teacher, since others of the stack may mask or merge it while training goes on."""
        return deepcopy(self._ready(context)) if self.replaces_network else network

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self._updates, "teacher": {} if self.teacher is None else self.teacher.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._updates = int(state["updates"])
        if self._context is not None and state["teacher"]:
            self._ready(self._context).load_state_dict(state["teacher"])

    def _ready(self, context: Context) -> SegmentationNetwork:
        """A copy of the network as it is once every strategy has prepared it."""
        if self.teacher is None:
            self.teacher = deepcopy(context.network)
        self.teacher.eval().requires_grad_(False)
        self.teacher.to(next(context.network.parameters()).device)
        return self.teacher

    def _of_teacher(self, context: Context, image: Tensor) -> Tensor:
        logits: Tensor = self._ready(context)(noisy(image, self._options.noise)).logits
        return logits

    def _uncertainty(self, context: Context, image: Tensor, regions: bool) -> Tensor:
        total = probabilities(self._of_teacher(context, image), regions)
        for _ in range(self._options.passes - 1):
            total = total + probabilities(self._of_teacher(context, image), regions)
        return entropy(total / self._options.passes, regions)
