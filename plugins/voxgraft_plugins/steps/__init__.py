"""The steps of a workflow: check, plan, prepare, train, evaluate, guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import StepSpec, hookimpl
from voxgraft.runs.steps import independent

if TYPE_CHECKING:
    from voxgraft.interfaces import Step

    from .config import StepConfig


@hookimpl
def voxgraft_steps() -> list[StepSpec[StepConfig]]:
    return [
        StepSpec(
            name="check",
            summary="Judge the data set before any hour is spent",
            config=_config,
            build=_check,
            independent_of=independent.CHECK,
            scope="member",
        ),
        StepSpec(
            name="plan",
            summary="Measure the cases, split them by patient, decide spacing, patch and network",
            config=_config,
            build=_plan,
            independent_of=independent.PLAN,
            scope="member",
            after=("check",),
        ),
        StepSpec(
            name="prepare",
            summary="Make the arrays that training reads",
            config=_config,
            build=_prepare,
            independent_of=independent.PREPARE,
            scope="member",
            after=("plan",),
        ),
        StepSpec(
            name="train",
            summary="Learn, and leave a model package",
            config=_config,
            build=_train,
            independent_of=independent.TRAIN,
            together=_vote,
            after=("prepare",),
        ),
        StepSpec(
            name="evaluate",
            summary="Segment and score the held-out cases",
            config=_config,
            build=_evaluate,
            independent_of=independent.EVALUATE,
            together=_pool,
            after=("train",),
            labelled=True,
        ),
        StepSpec(
            name="guard",
            summary="Train a twin from scratch, and judge whether transfer helps",
            config=_config,
            build=_guard,
            independent_of=independent.GUARD,
            together=_pool_guard,
            after=("evaluate",),
        ),
    ]


def _config() -> type[StepConfig]:
    from .config import StepConfig

    return StepConfig


def _check(config: StepConfig) -> Step:
    from voxgraft.runs.steps.check import Check

    return Check()


def _plan(config: StepConfig) -> Step:
    from voxgraft.runs.steps.plan import PlanStep

    return PlanStep()


def _prepare(config: StepConfig) -> Step:
    from voxgraft.runs.steps.prepare import Prepare

    return Prepare()


def _train(config: StepConfig) -> Step:
    from voxgraft.runs.steps.train import Train

    return Train()


def _evaluate(config: StepConfig) -> Step:
    from voxgraft.runs.steps.evaluate import Evaluate

    return Evaluate()


def _guard(config: StepConfig) -> Step:
    from voxgraft.runs.steps.guard import GuardStep

    return GuardStep()


def _vote(config: StepConfig) -> Step:
    from voxgraft.runs.steps.together import Vote

    return Vote()


def _pool(config: StepConfig) -> Step:
    from voxgraft.runs.steps.together import Pool

    return Pool()


def _pool_guard(config: StepConfig) -> Step:
    from voxgraft.runs.steps.together import PoolGuard

    return PoolGuard()
