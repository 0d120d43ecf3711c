"""The steps of a workflow: check, plan, prepare, train, evaluate, guard."""

from __future__ import annotations

from typing import Any

from ...components.catalogue import hookimpl, late_new
from ..run import StepSpec
from . import independent


@hookimpl
def voxgraft_steps() -> list[StepSpec[Any]]:
    return [
        StepSpec(
            name="check",
            summary="Check the data set before you spend hours training",
            build=late_new(__name__, ".check:Check"),
            independent_of=independent.CHECK,
            scope="member",
            tracked=False,
        ),
        StepSpec(
            name="plan",
            summary="Measure the cases, split them by patient, decide spacing, patch and network",
            build=late_new(__name__, ".plan:PlanStep"),
            independent_of=independent.PLAN,
            scope="member",
            tracked=False,
            after=("check",),
        ),
        StepSpec(
            name="prepare",
            summary="Prepare the arrays that training reads",
            build=late_new(__name__, ".prepare:Prepare"),
            independent_of=independent.PREPARE,
            scope="member",
            tracked=False,
            after=("plan",),
        ),
        StepSpec(
            name="train",
            summary="Train, and write a model package",
            build=late_new(__name__, ".train:Train"),
            independent_of=independent.TRAIN,
            together=late_new(__name__, "..pooling:Vote"),
            after=("prepare",),
        ),
        StepSpec(
            name="evaluate",
            summary="Segment and score the held-out cases",
            build=late_new(__name__, ".evaluate:Evaluate"),
            independent_of=independent.EVALUATE,
            together=late_new(__name__, "..pooling:Pool"),
            after=("train",),
            labelled=True,
        ),
        StepSpec(
            name="guard",
            summary="Train a twin from scratch, and judge whether transfer helps",
            build=late_new(__name__, ".guard:GuardStep"),
            independent_of=independent.GUARD,
            together=late_new(__name__, "..pooling:PoolGuard"),
            after=("evaluate",),
        ),
    ]
