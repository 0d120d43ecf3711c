"""What a workflow's strategies need, said before training starts and without building anything."""

from __future__ import annotations

from typing import Any

from ..components.choice import Selected, StrategyOptions
from ..datasets.companions import Roles
from ..errors import TrainingError
from ..networks.sources import Models
from ..preprocessing.modality import ModalitySpec
from ..transfer.spec import StrategySpec
from .workflow import Workflow


def needs_of(workflow: Workflow, only: Selected[Any] | None = None) -> frozenset[str]:
    """What the strategies of a workflow need, by their specs and by the options they were given; or one of them."""
    needs: set[str] = set()
    for strategy in workflow.transfer if only is None else (only,):
        needs |= strategy.component.needs if isinstance(strategy.component, StrategySpec) else frozenset()
        needs |= strategy.options.needs if isinstance(strategy.options, StrategyOptions) else frozenset()
    return frozenset(needs)


def channels_of(workflow: Workflow) -> tuple[str, ...]:
    """The channels that one file of the workflow's modality may hold; empty where it says none."""
    spec = workflow.data.modality.component
    return spec.channels if isinstance(spec, ModalitySpec) else ()


def roles_of(workflow: Workflow) -> Roles:
    """What a workflow's network learns from: labels or none, and which of its strategies take unlabelled scans."""
    learners = [chosen.name for chosen in workflow.transfer if "unlabelled" in needs_of(workflow, chosen)]
    return Roles(workflow.supervised, tuple(learners))


def check_transfer(workflow: Workflow, models: Models) -> None:
    """Refuse a stack of strategies that cannot work with this workflow.

    Raises:
        TrainingError: A strategy needs pretrained weights, and the encoder is to have none; or a second data set, and
            none is named; or two strategies cannot stand together.
        ModelError: A strategy needs a teacher that is not there.
    """
    for strategy in workflow.transfer:
        needs = needs_of(workflow, strategy)
        if "pretrained" in needs and not workflow.model.pretrained:
            raise TrainingError(
                f"transfer: {strategy.name!r} works on pretrained weights, but model.encoder.weights is 'none'; "
                "name weights, or leave the strategy out"
            )
        if "source" in needs and workflow.data.source is None and workflow.data.unlabelled is None:
            raise TrainingError(
                f"transfer: {strategy.name!r} brings two data sets together: name data.source (labelled scans from "
                "elsewhere), or data.unlabelled (scans like those to be segmented)"
            )
        for teacher in strategy.options.teachers if isinstance(strategy.options, StrategyOptions) else ():
            models.resolve(teacher)
    if len(workflow.transfer) > 1:
        from ..transfer.stack import Stack  # imports torch

        Stack([strategy.build() for strategy in workflow.transfer])


def check_start(workflow: Workflow, models: Models) -> None:
    """Refuse initial weights that could not be loaded. Whether they fit the network is seen once there is a plan.

    Raises:
        ModelError: There is no such file, model or repository, or it is damaged.
    """
    if not workflow.model.pretrained:
        return
    if workflow.model.start != "none":
        from ..networks.sources import registered_weights

        registered_weights(workflow.model.start, models)
    else:
        workflow.model.encoder.build().weights(models)
