"""What a workflow's strategies need, said before training starts and without building anything."""

from __future__ import annotations

from ..errors import TrainingError
from ..workflow import Workflow


def check_transfer(workflow: Workflow) -> None:
    """Refuse a stack of strategies that cannot work with this workflow.

    Raises:
        TrainingError: A strategy needs pretrained weights, and the encoder is to have none; or two strategies cannot
            stand together.
    """
    weights = getattr(workflow.model.encoder.options, "weights", None)
    for strategy in workflow.transfer:
        needs: frozenset[str] = getattr(strategy.component, "needs", frozenset())
        if "pretrained" in needs and weights in (None, "none"):
            raise TrainingError(
                f"transfer: {strategy.name!r} works on pretrained weights, but model.encoder.weights is 'none'; "
                "name weights, or leave the strategy out"
            )
    if len(workflow.transfer) > 1:
        from .transfer import Stack  # imports torch

        Stack([strategy.build().make() for strategy in workflow.transfer])
