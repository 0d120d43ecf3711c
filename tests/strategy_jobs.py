"""A training of two-dimensional strategies in the real loop that takes a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from held_cases import Held, cross_entropy
from strategy_trainer import network
from voxgraft.components.choice import Selected
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.preprocessing.plan import Plan
from voxgraft.training.batches import batches_of
from voxgraft.training.job import Job
from voxgraft.training.setup import table
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context, TransferStrategy
from voxgraft.workflow.sections import Training

STRENGTHS = {"rotation": 15.0, "scale": 0.1, "noise": 0.1, "gamma": 0.2}


def squares(number: int = 3) -> list[Held]:
    """Bright squares on noise."""
    rng = np.random.default_rng(0)
    cases = []
    for index in range(number):
        image = rng.normal(0, 0.3, (1, 24, 26)).astype(np.float32)
        label = np.zeros((24, 26), np.uint8)
        label[4 + index : 12 + index, 5:14] = 1
        image[0][label == 1] += 2
        places = np.argwhere(label == 1)
        cases.append(Held(f"case{index}", image, label, np.concatenate([np.ones((len(places), 1), int), places], 1)))
    return cases


def plan() -> Plan:
    return Plan(
        dims=2,
        image_dims=2,
        channels=("mr",),
        labels=((1, "square"),),
        modality="mr",
        normalisation=({},),
        spacing=(1.0, 1.0),
        patch=(16, 16),
        batch=4,
        strides=((1, 1), (2, 2), (4, 4)),
    )


def job(
    folder: Path,
    strategies: Sequence[TransferStrategy],
    look: Callable[[SegmentationNetwork], dict[str, float]] = lambda network: {"dice": 0.5},
    **options: Any,
) -> Job:
    """What `voxgraft.training.session` puts together, from cases in memory."""
    training = Training.model_validate(
        {"device": "cpu", "loss": Selected(None, None), "budget": "4 steps", "foreground": 0.5, **options}
    )
    net = network()
    pretrained = frozenset(name for name in net.state_dict() if name.startswith("encoder."))
    stack = Stack(strategies)
    context = Context(net, pretrained, plan=plan())
    extra = context.extra = stack.prepare(context)
    rows = table(stack, context, training.optimiser)
    return Job(
        network=net,
        stack=stack,
        rows=rows,
        context=context,
        extra=extra,
        batches=batches_of(squares(), squares(), plan(), stack, STRENGTHS, training),
        plan=plan(),
        spacing=(1.0, 1.0),
        loss=cross_entropy,
        strengths=STRENGTHS,
        options=training,
        folder=folder,
        identity="squares",
        look=look,
        report=lambda numbers, step: None,
        show=lambda share, note: None,
    )
