"""The steps of a workflow: check, plan, prepare, train, evaluate, guard."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...components.component import hookimpl
from ..run import StepSpec
from . import independent

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..run import Step


@hookimpl
def voxgraft_steps() -> list[StepSpec[Any]]:
    return [
        StepSpec(
            name="check",
            summary="Check the data set before you spend hours training",
            build=_build(".check", "Check"),
            independent_of=independent.CHECK,
            scope="member",
            tracked=False,
        ),
        StepSpec(
            name="plan",
            summary="Measure the cases, split them by patient, decide spacing, patch and network",
            build=_build(".plan", "PlanStep"),
            independent_of=independent.PLAN,
            scope="member",
            tracked=False,
            after=("check",),
        ),
        StepSpec(
            name="prepare",
            summary="Prepare the arrays that training reads",
            build=_build(".prepare", "Prepare"),
            independent_of=independent.PREPARE,
            scope="member",
            tracked=False,
            after=("plan",),
        ),
        StepSpec(
            name="train",
            summary="Train, and write a model package",
            build=_build(".train", "Train"),
            independent_of=independent.TRAIN,
            together=_build("..pooling", "Vote"),
            after=("prepare",),
        ),
        StepSpec(
            name="evaluate",
            summary="Segment and score the held-out cases",
            build=_build(".evaluate", "Evaluate"),
            independent_of=independent.EVALUATE,
            together=_build("..pooling", "Pool"),
            after=("train",),
            labelled=True,
        ),
        StepSpec(
            name="guard",
            summary="Train a twin from scratch, and judge whether transfer helps",
            build=_build(".guard", "GuardStep"),
            independent_of=independent.GUARD,
            together=_build("..pooling", "PoolGuard"),
            after=("evaluate",),
        ),
    ]


def _build(module: str, name: str) -> Callable[[BaseModel], Step]:
    """Makes a step from its module, which is imported only then."""

    def build(_: BaseModel) -> Step:
        step: Step = getattr(import_module(module, __package__), name)()
        return step

    return build
