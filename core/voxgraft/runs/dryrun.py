"""`run --dry-run`: the plan, the network, and what training would take; nothing is written."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..checks.problem import CaseProblem
from ..checks.sides import judge_mirroring
from ..components.catalogue import Catalogue
from ..datasets.cases import Dataset
from ..networks.network import SegmentationNetwork
from ..packages.references import Resolver
from ..preprocessing.plan import Plan
from ..support.files import read_json
from ..support.machine import choose_device
from ..support.progress import Progress
from ..support.texts import counted
from ..support.torch_dims import CHANNELS_LAST, channels_last
from ..training.loss import Loss
from ..training.setup import set_up
from ..training.targets import deep_loss
from ..workflow.requirements import check_transfer
from ..workflow.workflow import Workflow
from .run import Run
from .steps.plan import PlanStep, doubts_of, labels_of_run


def dry_run(workflow: Workflow, catalogue: Catalogue) -> dict[str, Any]:
    """Measure the cases and one step of training, and say what would be done.

    Returns:
        Plain values under words for people.

    Raises:
        DataError: The data set cannot be planned for.
        TrainingError, ModelError: Training would refuse to start.
    """
    models = Resolver(catalogue.with_options("reader", workflow.data.reader_options), workflow.place)
    check_transfer(workflow, models)
    with tempfile.TemporaryDirectory(prefix="voxgraft-") as scratch:
        run = Run(Path(scratch), workflow, models, Progress(quiet=True))
        PlanStep().do(run)
        plan, split, labels = run.plan, run.split, labels_of_run(run)
        problems = [
            *judge_mirroring(labels, workflow),
            *doubts_of(read_json(run.folder / "fingerprint.json"), plan, split, run.dataset.labels or labels),
        ]
    device = choose_device(workflow.training.device)
    setup = set_up(workflow, plan, models)
    network = setup.context.network.to(device)
    seconds = _measure(network, workflow.training.loss.build(), plan, device)
    budget = workflow.training.budget
    if budget.unit == "minutes":
        length = f"{budget.amount:g} min, about {60 * budget.amount / seconds:.0f} steps"
    else:
        steps = budget.amount * (max(1, -(-len(split.train) // plan.batch)) if budget.unit == "epochs" else 1)
        length = f"{budget}, about {steps * seconds / 60:.1f} min"
    parameters = sum(parameter.numel() for parameter in network.parameters())
    learning = sum(math.prod(row.shape) for row in setup.rows if row.train)
    shape = "x".join(map(str, plan.patch))
    return {
        "workflow": workflow.name,
        "data": f"{counted(len(split.train), 'case')} to train on, {len(split.validation)} held out, split by patient",
        "labels": ", ".join(f"{name} ({value})" for value, name in plan.labels),
        "channels": ", ".join(plan.channels),
        "spacing": " x ".join(f"{step:g}" for step in plan.spacing) + " mm",
        "patch": f"{shape}, batch {plan.batch}",
        "network": f"{workflow.model.encoder.name} + {workflow.model.decoder.name}, {plan.dims}D, "
        f"{len(plan.strides)} levels, {parameters:,} parameters",
        "weights": str(setup.weights) if setup.weights else "none (trained from scratch)",
        "transfer": ", ".join(strategy.name for strategy in workflow.transfer) or "none",
        "learning": f"{learning:,} of {sum(math.prod(row.shape) for row in setup.rows):,} parameters",
        "device": str(device),
        "training": length + _times(workflow, run.dataset),
        "memory": f"about {setup.need.total(plan.batch) / 2**30:.2f} GiB while training",
        "steps": ", ".join(step.name for step in workflow.steps),
        **_warned(problems),
    }


def _warned(problems: Sequence[CaseProblem]) -> dict[str, str]:
    """What `check` warns of as well."""
    return {"warnings": "; ".join(f"{problem.message} ({problem.fix})" for problem in problems)} if problems else {}


def _times(workflow: Workflow, dataset: Dataset) -> str:
    """How many trainings it is, where it is more than one: members of a cross-validation, draws, twins."""
    options, count = workflow.data.split, 1
    if options.fold == "all":
        count *= max(1, options.folds if options.by == "patient" else len(dataset.splits))
    if options.repeat == "all":
        count *= options.repeats
    twins = ", each with a twin from scratch" if count > 1 else ", and as long for its twin from scratch"
    runs = f", in each of {count} runs" if count > 1 else ""
    return runs + (twins if workflow.guard is not None else "")


def _measure(network: SegmentationNetwork, loss: Loss, plan: Plan, device: torch.device) -> float:
    """Seconds of one step of training at the plan's batch: the fastest of a few after the first."""
    memory = CHANNELS_LAST[plan.dims]
    channels_last(network)
    times = []
    for _ in range(4):
        start = time.monotonic()
        image = torch.randn(plan.batch, len(plan.channels), *plan.patch, device=device)
        target = torch.zeros(plan.batch, *plan.patch, dtype=torch.long, device=device)
        output = network(image.contiguous(memory_format=memory))
        torch.autograd.backward(deep_loss(loss, output.logits, output.deep, target, plan))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.monotonic() - start)
        del output  # or two passes would be in memory at once
    return min(times[1:])
