"""The steps of a workflow: check, plan, prepare, train, evaluate, guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...components.component import hookimpl
from ..run import StepSpec
from . import independent

if TYPE_CHECKING:
    from ..run import Step
    from .options import StepOptions


@hookimpl
def voxgraft_steps() -> list[StepSpec[StepOptions]]:
    return [
        StepSpec(
            name="check",
            summary="Judge the data set before you spend hours training",
            options=_options,
            build=_check,
            independent_of=independent.CHECK,
            scope="member",
            tracked=False,
        ),
        StepSpec(
            name="plan",
            summary="Measure the cases, split them by patient, decide spacing, patch and network",
            options=_options,
            build=_plan,
            independent_of=independent.PLAN,
            scope="member",
            tracked=False,
            after=("check",),
        ),
        StepSpec(
            name="prepare",
            summary="Make the arrays that training reads",
            options=_options,
            build=_prepare,
            independent_of=independent.PREPARE,
            scope="member",
            tracked=False,
            after=("plan",),
        ),
        StepSpec(
            name="train",
            summary="Learn, and leave a model package",
            options=_options,
            build=_train,
            independent_of=independent.TRAIN,
            together=_vote,
            after=("prepare",),
        ),
        StepSpec(
            name="evaluate",
            summary="Segment and score the held-out cases",
            options=_options,
            build=_evaluate,
            independent_of=independent.EVALUATE,
            together=_pool,
            after=("train",),
            labelled=True,
        ),
        StepSpec(
            name="guard",
            summary="Train a twin from scratch, and judge whether transfer helps",
            options=_options,
            build=_guard,
            independent_of=independent.GUARD,
            together=_pool_guard,
            after=("evaluate",),
        ),
    ]


def _options() -> type[StepOptions]:
    from .options import StepOptions

    return StepOptions


def _check(options: StepOptions) -> Step:
    from .check import Check

    return Check()


def _plan(options: StepOptions) -> Step:
    from .plan import PlanStep

    return PlanStep()


def _prepare(options: StepOptions) -> Step:
    from .prepare import Prepare

    return Prepare()


def _train(options: StepOptions) -> Step:
    from .train import Train

    return Train()


def _evaluate(options: StepOptions) -> Step:
    from .evaluate import Evaluate

    return Evaluate()


def _guard(options: StepOptions) -> Step:
    from .guard import GuardStep

    return GuardStep()


def _vote(options: StepOptions) -> Step:
    from ..pooling import Vote

    return Vote()


def _pool(options: StepOptions) -> Step:
    from ..pooling import Pool

    return Pool()


def _pool_guard(options: StepOptions) -> Step:
    from ..pooling import PoolGuard

    return PoolGuard()
